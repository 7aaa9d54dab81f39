/**
 * The cells of the picture, drawn tile by tile on a canvas.
 *
 * A tile is a square of device pixels of a *scene*: one zoom of one choice of rows. While somebody pans, tiles that are
 * there are copied, and no frame spends more than its budget on new ones. Where a pixel stands for many dates or many
 * series it shows the worst of them.
 */

const TILE = 256;

/** Milliseconds of a frame that may be spent on new tiles. */
const BUDGET_MS = 7;

/** Milliseconds after which a zoom that goes on is drawn anew, and not only stretched. */
const STRETCH_MS = 120;

/** Sizes of cells whose pixels are kept. */
const MOST_SIZES = 48;

/** Tiles that are kept beyond those in sight. */
const SPARE_TILES = 96;

/** All that decides what a tile looks like: its zoom in device pixels, and the view's rows and statuses. */
class Scene {
  /**
   * @param {View} view
   * @param {Sprites} sprites
   * @param {number} perDay device pixels of a day
   * @param {number} perRow device pixels of a row; a whole number if it is 1 or more
   */
  constructor(view, sprites, perDay, perRow) {
    this.rows = view.rows;
    this.pyramid = view.pyramid;
    this.extent = view.extent;
    this.sprites = sprites;
    this.perDay = perDay;
    this.perRow = perRow;
  }

  isLike(other) {
    if (other === null || !isSame(this.extent, other.extent)) return false;
    return ["rows", "pyramid", "sprites", "perDay", "perRow"].every((name) => this[name] === other[name]);
  }

  /** The first pixel of a day. */
  pixelOf(day) {
    return Math.ceil(day * this.perDay);
  }

  /** The first day of a pixel, where a day is narrower than a pixel. */
  dayOf(pixel) {
    return Math.ceil(pixel / this.perDay);
  }

  /**
   * Paint a rectangle of the scene into pixels of 32 bits, which are empty before.
   *
   * @param {Uint32Array} pixels
   * @param {number} left the first column of the scene; pixels beyond `width` columns are cut off
   * @param {number} top
   */
  paint(pixels, left, top, width, height) {
    const edges = this.#edges(left, width);
    const { columns, days } = edges;
    const codes = new Uint8Array(columns.length - 1);
    const { perRow, rows } = this;
    const lastRow = Math.min(rows.length - 1, Math.ceil((top + height) / perRow) - 1);
    if (perRow >= 1) {
      for (let row = Math.max(0, Math.floor(top / perRow)); row <= lastRow; row++) {
        codes.fill(0);
        if (this.#collect(codes, days, rows[row])) this.#put(pixels, width, height, columns, codes, row * perRow - top);
      }
      return;
    }
    for (let line = 0; line < height; line++) {
      const from = Math.ceil((top + line) / perRow);
      const end = Math.min(rows.length, Math.ceil((top + line + 1) / perRow));
      codes.fill(0);
      let isAny = false;
      for (let row = from; row < end; row++) isAny = this.#collect(codes, days, rows[row]) || isAny;
      if (isAny) this.#put(pixels, width, height, columns, codes, line);
    }
  }

  /** Return where the columns of a stretch begin, in pixels and in days; the last ones are where they end. */
  #edges(left, width) {
    const columns = [];
    const days = [];
    if (this.perDay >= 1) {
      // One more at each end, so that no rounding leaves a pixel out.
      const first = Math.floor(left / this.perDay) - 1;
      const last = Math.ceil((left + width) / this.perDay) + 1;
      for (let day = first; day <= last; day++) {
        columns.push(this.pixelOf(day) - left);
        days.push(day);
      }
    } else {
      for (let column = 0; column <= width; column++) {
        columns.push(column);
        days.push(this.dayOf(left + column));
      }
    }
    return { columns, days };
  }

  /** Raise the codes of columns to the worst of a series; return whether it has any cell there. */
  #collect(codes, days, series) {
    const { pyramid, extent } = this;
    const first = Math.max(pyramid.first[series], extent.first);
    const end = Math.min(pyramid.end[series], extent.last + 1);
    const count = codes.length;
    if (first >= end || end <= days[0] || first >= days[count]) return false;
    let column = first <= days[0] ? 0 : columnOf(days, first);
    if (this.perDay >= 1) {
      const { numbers } = pyramid;
      const shift = pyramid.base[series] - pyramid.first[series];
      for (; column < count && days[column] < end; column++) {
        if (days[column] < first) continue;
        const code = numbers[shift + days[column]];
        if (code > codes[column]) codes[column] = code;
      }
      return true;
    }
    for (; column < count && days[column] < end; column++) {
      const code = pyramid.worst(series, Math.max(first, days[column]), Math.min(end, days[column + 1]));
      if (code > codes[column]) codes[column] = code;
    }
    return true;
  }

  /** Copy the sprites of a row to their places, line by line, since pixels lie so in memory. */
  #put(pixels, width, height, columns, codes, top) {
    const spriteHeight = Math.max(1, this.perRow);
    const placed = [];
    for (let place = 0; place < codes.length; place++) {
      if (!codes[place]) continue;
      const left = columns[place];
      const across = columns[place + 1] - left;
      const from = Math.max(0, -left);
      const end = Math.min(across, width - left);
      if (from >= end) continue;
      placed.push({ sprite: this.sprites.of(codes[place], across, spriteHeight), left, across, from, end });
    }
    const endLine = Math.min(spriteHeight, height - top);
    for (let line = Math.max(0, -top); line < endLine; line++) {
      const begin = (top + line) * width;
      for (const { sprite, left, across, from, end } of placed) {
        const source = line * across;
        const target = begin + left;
        for (let column = from; column < end; column++) pixels[target + column] = sprite[source + column];
      }
    }
  }
}

/** Return the column that holds a day, by halving. */
function columnOf(days, day) {
  let low = 0;
  let high = days.length - 1;
  while (low < high - 1) {
    const middle = (low + high) >> 1;
    if (days[middle] <= day) low = middle;
    else high = middle;
  }
  return low;
}

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

/** Make a canvas for a tile; that is dear, so they are used again. */
function emptyTile() {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: TILE, height: TILE });
  return { canvas, context: canvas.getContext("2d") };
}

class Heat {
  /** Tiles by their place, those that were made last at the end; and those that can be used again. */
  #tiles = new Map();
  #free = [];
  #image = new ImageData(TILE, TILE);
  #pixels = new Uint32Array(this.#image.data.buffer);
  /** @type {Scene | null} */
  #scene = null;
  /** What was drawn last, to be stretched while a new scene is made. */
  #before = null;
  #sprites = null;
  /** Where the canvas lies in the scene, in its pixels. */
  #place = { left: 0, top: 0 };
  /** The zoom of the last frame, and when the present scene was taken. */
  #zoom = null;
  #since = 0;

  /** @param {HTMLCanvasElement} canvas @param {View} view @param {Palette} palette */
  constructor(canvas, view, palette) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.view = view;
    this.palette = palette;
    palette.subscribe(() => (this.#sprites = null));
  }

  /** Draw what the view shows; return whether all of it is there, else ask again in the next frame. */
  draw() {
    const began = performance.now();
    const { view, canvas, context } = this;
    const { ratio } = view.size;
    const width = Math.round(view.size.width * ratio);
    const height = Math.round(view.size.height * ratio);
    const isResized = canvas.width !== width || canvas.height !== height;
    if (isResized && this.#scene) this.#remember();
    if (isResized) {
      Object.assign(canvas, { width, height });
      Object.assign(canvas.style, { width: `${view.size.width}px`, height: `${view.size.height}px` });
    }
    const scene = this.#wanted(ratio);
    context.fillStyle = this.palette.colours.sheet;
    if (!isResized && this.#isZooming(scene, began)) {
      if (!this.#before) this.#remember();
      context.fillRect(0, 0, width, height);
      this.#stretch(scene, { left: view.x.start * scene.perDay, top: view.y.start * scene.perRow });
      return false;
    }
    if (!scene.isLike(this.#scene)) this.#change(scene, isResized, began);
    const left = Math.round(view.x.start * scene.perDay);
    const top = Math.round(view.y.start * scene.perRow);
    this.#place = { left, top };
    context.fillRect(0, 0, width, height);
    // Below the cells: a pixel of a line could be the one that shows a late date.
    drawUnitLines(context, view, this.palette, ratio, height);
    let isWhole = true;
    const wanted = new Set();
    for (let y = Math.floor(top / TILE); y * TILE < top + height; y++) {
      for (let x = Math.floor(left / TILE); x * TILE < left + width; x++) {
        const key = `${x}:${y}`;
        wanted.add(key);
        let tile = this.#tiles.get(key);
        if (!tile && (performance.now() - began < BUDGET_MS || wanted.size === 1)) tile = this.#make(key, x, y);
        if (tile) {
          context.drawImage(tile.canvas, x * TILE - left, y * TILE - top);
        } else {
          isWhole = false;
          this.#patch(x * TILE - left, y * TILE - top);
        }
      }
    }
    if (isWhole) this.#before = null;
    for (const [key, tile] of this.#tiles) {
      if (this.#tiles.size <= wanted.size + SPARE_TILES) break;
      if (wanted.has(key)) continue;
      this.#tiles.delete(key);
      this.#free.push(tile);
    }
    return isWhole;
  }

  /** Return the scene of the present zoom and choice. */
  #wanted(ratio) {
    const { view } = this;
    if (!this.#sprites || this.#sprites.ratio !== ratio) {
      this.#sprites = new Sprites(view.coverage.cells, this.palette, ratio);
    }
    const perRow = view.y.height * ratio;
    return new Scene(
      view, this.#sprites, ratio / view.x.perPixel, perRow >= 1 ? Math.round(perRow) : perRow,
    );
  }

  /** Whether the zoom has changed since the last frame, so that tiles of it would be thrown away at once. */
  #isZooming(scene, now) {
    const last = this.#zoom;
    this.#zoom = { perDay: scene.perDay, perRow: scene.perRow };
    if (!this.#scene || !scene.isLike({ ...this.#scene, ...this.#zoom })) return false;
    return !isSame(last, this.#zoom) && now - this.#since < STRETCH_MS;
  }

  /** Put a scene into the place of the one before, whose tiles are forgotten. */
  #change(scene, isResized, now) {
    const before = this.#scene;
    if (before && !isResized && !this.#before) this.#remember();
    if (before && (before.rows !== scene.rows || before.pyramid !== scene.pyramid)) this.#before = null;
    this.#scene = scene;
    this.#since = now;
    this.#free.push(...this.#tiles.values());
    this.#tiles.clear();
  }

  #remember() {
    const { canvas } = this;
    const picture = document.createElement("canvas");
    Object.assign(picture, { width: canvas.width, height: canvas.height });
    picture.getContext("2d").drawImage(canvas, 0, 0);
    this.#before = { picture, scene: this.#scene, ...this.#place };
  }

  /** Draw the picture before as it lies in another scene whose corner is at `place`. */
  #stretch(scene, place) {
    const { picture, scene: before, left, top } = this.#before;
    const across = scene.perDay / before.perDay;
    const down = scene.perRow / before.perRow;
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(
      picture, left * across - place.left, top * down - place.top, picture.width * across, picture.height * down,
    );
  }

  /** Show the part of the picture before that lies where a tile is not made yet. */
  #patch(x, y) {
    if (!this.#before) return;
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, TILE, TILE);
    this.context.clip();
    this.#stretch(this.#scene, this.#place);
    this.context.restore();
  }

  #make(key, x, y) {
    const tile = this.#free.pop() ?? emptyTile();
    this.#pixels.fill(0);
    this.#scene.paint(this.#pixels, x * TILE, y * TILE, TILE, TILE);
    tile.context.putImageData(this.#image, 0, 0);
    this.#tiles.set(key, tile);
    return tile;
  }
}
