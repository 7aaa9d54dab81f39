/** The whole picture in a strip: all rows and all days that the filters let pass, and the part that is in sight. */

/** CSS pixels at an end of the part in sight by which it is made longer or shorter. */
const HANDLE = 7;

class Overview {
  #picture = null;
  #scene = null;
  #line = 0;

  /** @param {HTMLCanvasElement} canvas @param {View} view @param {Palette} palette */
  constructor(canvas, view, palette) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = view;
    this.palette = palette;
    palette.subscribe(() => (this.#scene = null));
    this.#listen();
  }

  /** Draw what is there; return whether that is all of it, else ask again in the next frame. */
  draw(width, height) {
    const { ratio } = this.view.size;
    const across = Math.max(1, Math.round(width * ratio));
    const down = Math.max(1, Math.round(height * ratio));
    if (this.canvas.width !== across || this.canvas.height !== down) {
      Object.assign(this.canvas, { width: across, height: down });
      this.#scene = null;
    }
    this.width = width;
    const isWhole = this.#paint(across, down);
    this.#draw(across, down, ratio);
    return isWhole;
  }

  /** Make the picture line by line, as far as the budget of a frame goes. */
  #paint(across, down) {
    const { view } = this;
    const { first, last } = view.extent;
    const perRow = down / Math.max(1, view.rows.length);
    const sprites = this.#scene?.sprites ?? new Sprites(view.coverage.cells, this.palette, view.size.ratio);
    const scene = new Scene(view, sprites, across / (last - first + 1), perRow >= 1 ? Math.floor(perRow) : perRow);
    if (!scene.isLike(this.#scene)) {
      this.#scene = scene;
      this.#line = 0;
      this.#picture = document.createElement("canvas");
      Object.assign(this.#picture, { width: across, height: down });
    }
    const context = this.#picture.getContext("2d");
    const began = performance.now();
    const left = scene.pixelOf(first);
    while (this.#line < down && performance.now() - began < BUDGET_MS / 2) {
      const lines = Math.min(4, down - this.#line);
      const image = context.createImageData(across, lines);
      scene.paint(new Uint32Array(image.data.buffer), left, this.#line, across, lines);
      context.putImageData(image, 0, this.#line);
      this.#line += lines;
    }
    return this.#line >= down;
  }

  #draw(across, down, ratio) {
    const { context, palette } = this;
    const { sheet, accent, veil } = palette.colours;
    context.fillStyle = sheet;
    context.fillRect(0, 0, across, down);
    // Rows have whole pixels, and are stretched to the full height.
    const painted = Math.min(down, Math.ceil(this.view.rows.length * this.#scene.perRow));
    context.imageSmoothingEnabled = false;
    if (painted) context.drawImage(this.#picture, 0, 0, across, painted, 0, 0, across, down);
    const { left, right } = this.#window();
    const [from, end] = [left * ratio, right * ratio];
    context.fillStyle = veil;
    context.fillRect(0, 0, from, down);
    context.fillRect(end, 0, across - end, down);
    context.strokeStyle = accent;
    context.lineWidth = 1.5 * ratio;
    const inset = context.lineWidth / 2;
    context.beginPath();
    context.roundRect(from + inset, inset, Math.max(2 * ratio, end - from) - 2 * inset, down - 2 * inset, 3 * ratio);
    context.stroke();
  }

  /** Return where the part in sight lies, in CSS pixels. */
  #window() {
    const { first, last } = this.view.extent;
    const perDay = this.width / (last - first + 1);
    const { start, perPixel } = this.view.x;
    const left = Math.max(0, (start - first) * perDay);
    const right = Math.min(this.width, (start + this.view.size.width * perPixel - first) * perDay);
    return { left, right: Math.max(right, left + 2) };
  }

  #listen() {
    const { canvas, view } = this;
    let move = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      const { left, right } = this.#window();
      const at = event.offsetX;
      const isWide = right - left > 4 * HANDLE;
      if (isWide && Math.abs(at - left) < HANDLE) move = (x) => this.#show(x, right);
      else if (isWide && Math.abs(at - right) < HANDLE) move = (x) => this.#show(left, x);
      else {
        const grip = at > left && at < right ? at - left : (right - left) / 2;
        move = (x) => view.set({ x: { start: this.#dayAt(x - grip) } });
        move(at);
      }
    });
    canvas.addEventListener("pointermove", (event) => {
      const { left, right } = this.#window();
      const isHandle = Math.min(Math.abs(event.offsetX - left), Math.abs(event.offsetX - right)) < HANDLE;
      canvas.style.cursor = isHandle && right - left > 4 * HANDLE ? "ew-resize" : "grab";
      move?.(event.offsetX);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (move = null));
  }

  #dayAt(left) {
    const { first, last } = this.view.extent;
    return first + (left / this.width) * (last - first + 1);
  }

  #show(left, right) {
    const [from, end] = [Math.max(0, Math.min(left, right)), Math.min(this.width, Math.max(left, right))];
    const first = this.#dayAt(from);
    const perPixel = Math.max(0.5, this.#dayAt(end) - first) / this.view.size.width;
    this.view.set({ x: { start: first, perPixel } });
  }
}
