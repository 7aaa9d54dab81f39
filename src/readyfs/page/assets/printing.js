/** The picture on paper: drawn anew in the light palette, as one image that fits the paper's width. */

class Printing {
  #drawn = null;
  #palette = "";

  /** @param {{view: View, palette: Palette, picture: Picture}} page */
  constructor({ view, palette, picture }) {
    this.view = view;
    this.palette = palette;
    this.picture = picture;
    window.addEventListener("beforeprint", () => this.#begin());
    window.addEventListener("afterprint", () => this.#end());
  }

  #begin() {
    this.#end();
    this.#palette = this.palette.chosen;
    this.palette.choose("light");
    this.#drawn = this.#draw();
    document.getElementById("picture").before(this.#drawn);
  }

  #end() {
    if (!this.#drawn) return;
    this.#drawn.remove();
    this.#drawn = null;
    this.palette.choose(this.#palette);
  }

  /** Return a canvas with the axis, the names and the cells of the present place. */
  #draw() {
    const { view, palette, picture } = this;
    const { width, height, ratio } = view.size;
    const { labelsWidth } = picture;
    const canvas = document.createElement("canvas");
    canvas.className = "printed";
    const whole = sized(canvas, labelsWidth + width, AXIS_HEIGHT + height, ratio);
    whole.fillStyle = palette.colours.sheet;
    whole.fillRect(0, 0, labelsWidth + width, AXIS_HEIGHT + height);
    const put = (part, left, top, partWidth, partHeight) => {
      whole.drawImage(part, left, top, partWidth, partHeight);
    };
    const axis = document.createElement("canvas");
    drawAxis(sized(axis, width, AXIS_HEIGHT, ratio), view, palette, width, AXIS_HEIGHT);
    put(axis, labelsWidth, 0, width, AXIS_HEIGHT);
    const names = document.createElement("canvas");
    picture.names.draw(sized(names, labelsWidth, height, ratio), labelsWidth, height);
    put(names, 0, AXIS_HEIGHT, labelsWidth, height);
    const heat = new Heat(document.createElement("canvas"), view, palette);
    // Each call has the budget of a frame; nobody waits for a frame here.
    while (!heat.draw());
    put(heat.canvas, labelsWidth, AXIS_HEIGHT, width, height);
    // The style sheet fits it to the paper.
    Object.assign(canvas.style, { width: "", height: "" });
    return canvas;
  }
}

function startPrinting(page) {
  page.printing = new Printing(page);
}
