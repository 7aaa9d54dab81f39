/**
 * The cells of the picture, drawn tile by tile on a canvas.
 *
 * A tile is a square of device pixels of a scene. While somebody pans, tiles that are
 * there are copied, and no frame spends more than its budget on new ones. Where a pixel stands for many dates or many
 * series it shows the worst of them.
 */

const TILE = 256;

/** Milliseconds of a frame that may be spent on new tiles. */
const BUDGET_MS = 7;

/** Milliseconds after which a zoom that goes on is drawn anew, and not only stretched. */
const STRETCH_MS = 120;

/** Tiles that are kept beyond those in sight. */
const SPARE_TILES = 96;

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
