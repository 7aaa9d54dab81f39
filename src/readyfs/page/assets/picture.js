/** The picture as a whole: its layout, its scrolling, and one drawing of all its parts in each frame that needs it. */

/** CSS pixels that no browser refuses to scroll. */
const MOST_SCROLL = 8e6;

/** The elements of the picture, by their ids. */
const ELEMENTS = ["picture", "scroller", "sizer", "pane", "heat", "axis", "labels", "overview", "cursor", "empty"];

const AXIS_HEIGHT = 40;
const OVERVIEW_HEIGHT = 36;

/** CSS pixels that the rows have at least. */
const LEAST_HEIGHT = 120;

class Picture {
  #isAsked = false;
  #scrolled = 0;
  /** The height of rows by which the picture was measured last. */
  #rowHeight = 0;

  constructor({ view, palette }) {
    this.view = view;
    this.palette = palette;
    for (const id of ELEMENTS) this[id] = document.getElementById(id);
    this.cells = new Heat(document.getElementById("cells"), view, palette);
    this.names = new Labels(view, palette);
    this.strip = new Overview(this.overview, view, palette);
    this.picture.hidden = false;
    this.#measure();
    new ResizeObserver(() => this.#measure()).observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.#scroll(), { passive: true });
    view.subscribe((changed) => {
      if (changed.has("y") && view.y.height !== this.#rowHeight) this.#measure();
      this.#draw();
    });
    palette.subscribe(() => this.#ask());
    startGestures({ view }, this.heat, this.scroller);
  }

  #measure() {
    const { scroller, picture } = this;
    const total = scroller.clientWidth;
    const labels = this.names.widthFor(total);
    picture.style.setProperty("--labels", `${labels}px`);
    // A few series need no high picture. What the filters leave out keeps its room, so that nothing jumps.
    const { coverage, usualRow, y } = this.view;
    this.#rowHeight = y.height;
    const rows = Math.max(LEAST_HEIGHT, coverage.count * Math.max(usualRow, y.height));
    picture.style.setProperty("--all-rows", `${rows}px`);
    picture.style.setProperty("--bar", `${scroller.offsetWidth - total}px`);
    this.labelsWidth = labels;
    this.view.set({
      size: {
        width: Math.max(1, total - labels),
        height: Math.max(1, scroller.clientHeight),
        ratio: devicePixelRatio || 1,
      },
    });
    this.#ask();
  }

  #ask() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isAsked = false;
    const { view } = this;
    const { width, height, ratio } = view.size;
    this.#place();
    this.pane.style.height = `${height}px`;
    this.heat.style.width = `${width}px`;
    const isWhole = this.cells.draw();
    drawAxis(sized(this.axis, width, AXIS_HEIGHT, ratio), view, this.palette, width, AXIS_HEIGHT);
    this.names.draw(sized(this.labels, this.labelsWidth, height, ratio), this.labelsWidth, height);
    const isStripWhole = this.strip.draw(width, OVERVIEW_HEIGHT);
    this.#mark();
    this.empty.hidden = view.rows.length > 0;
    this.empty.textContent = sayNothing(view.coverage);
    if (!isWhole || !isStripWhole) this.#ask();
  }

  /** Keep the scroll bar where the view is. */
  #place() {
    const { view, scroller } = this;
    const height = view.rows.length * view.y.height;
    const room = Math.min(height, MOST_SCROLL);
    this.sizer.style.height = `${Math.max(room, view.size.height)}px`;
    this.#scale = room > view.size.height ? (height - view.size.height) / (room - view.size.height) : 1;
    const top = (view.y.start * view.y.height) / this.#scale;
    if (Math.abs(top - this.#scrolled) > 0.5 || Math.abs(scroller.scrollTop - top) > 1.5) {
      scroller.scrollTop = top;
      this.#scrolled = scroller.scrollTop;
    }
  }

  /** Pixels of all rows for one of the scroll bar. */
  #scale = 1;

  #scroll() {
    const { scrollTop } = this.scroller;
    if (Math.abs(scrollTop - this.#scrolled) < 0.5) return;
    this.#scrolled = scrollTop;
    this.view.set({ y: { start: (scrollTop * this.#scale) / this.view.y.height } });
  }

  /** Put the frame around the cell of the cursor. */
  #mark() {
    const { cursor: mark, view } = this;
    mark.hidden = view.cursor === null;
    if (!view.cursor) return;
    const box = view.boxOf(view.cursor.row, view.cursor.day);
    const width = Math.max(box.width, 6);
    const height = Math.max(box.height, 6);
    const [left, top] = [box.left - (width - box.width) / 2, box.top - (height - box.height) / 2];
    mark.style.transform = `translate(${left}px, ${top}px)`;
    mark.style.width = `${width}px`;
    mark.style.height = `${height}px`;
  }
}

/** Give a canvas a size in CSS pixels, and return its context in these. */
function sized(canvas, width, height, ratio) {
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    Object.assign(canvas, { width: across, height: down });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function startPicture(page) {
  page.picture = new Picture(page);
  page.view.zoomToAll();
}
