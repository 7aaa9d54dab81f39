/** What is copied into a scene: small pictures of cells, as numbers. */

/** Sizes of cells whose pixels are kept. */
const MOST_SIZES = 48;

/** The pixels of cells of each size, made when they are needed first. */
class Sprites {
  /** @param cells `coverage.cells` @param {Palette} palette @param {number} ratio device pixels per CSS pixel */
  constructor(cells, palette, ratio) {
    this.cells = cells;
    this.palette = palette;
    this.ratio = ratio;
    this.made = new Map();
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    /** @type {Uint32Array[]} those of the size that was asked for last */
    this.last = [];
    this.lastSize = -1;
  }

  /** @returns {Uint32Array} the pixels of a code, line by line */
  of(code, width, height) {
    const size = width * 4096 + height;
    if (size !== this.lastSize) this.#choose(size);
    return this.last[code] ?? this.#make(code, width, height);
  }

  #choose(size) {
    if (this.made.size >= MOST_SIZES) this.made.clear();
    let sprites = this.made.get(size);
    if (!sprites) this.made.set(size, (sprites = new Array(this.cells.length)));
    this.lastSize = size;
    this.last = sprites;
  }

  #make(code, width, height) {
    const { canvas, context } = this;
    // A new size clears a canvas, too.
    Object.assign(canvas, { width, height });
    drawCell(context, this.cells[code], this.palette, { x: 0, y: 0, width, height }, this.ratio);
    const sprite = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    this.last[code] = sprite;
    return sprite;
  }
}
