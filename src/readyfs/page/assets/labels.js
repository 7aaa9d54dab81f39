/** The names of the rows beside the picture. */

const LABEL_FONT = `12px ${FONT}`;
const LABEL_BOLD = `600 12px ${FONT}`;

/** CSS pixels that a name needs to be read; and that a row needs for names on two lines. */
const LEAST_LABEL = 15;
const TWO_LINES = 28;

/** CSS pixels that a source has at least beside a customer on a narrow page. */
const LEAST_SOURCE = 32;

/** CSS pixels of a page below which names stand on two lines. */
const NARROW_PAGE = 600;

/** The names of a coverage: which of their columns are told, and how wide these should be. */
class Labels {
  /** @param {View} view @param {Palette} palette */
  constructor(view, palette) {
    this.view = view;
    this.palette = palette;
    this.measure = document.createElement("canvas").getContext("2d");
    const { coverage } = view;
    const sample = [];
    const step = Math.max(1, Math.floor(coverage.count / 400));
    for (let index = 0; index < coverage.count; index += step) sample.push(coverage.series(index).shown);
    /** Names that differ are told; the source only if there are several. */
    this.fields = hasSources(coverage) ? ["source", "customer", "query"] : ["customer", "query"];
    this.measure.font = LABEL_BOLD;
    this.wanted = this.fields.map((field) => {
      const widths = sample.map((shown) => this.measure.measureText(shown[field]).width);
      return Math.min(220, Math.ceil(Math.max(24, ...widths)));
    });
  }

  /** Return the width that all labels should have where the picture has so many CSS pixels in all. */
  widthFor(total) {
    this.isNarrow = total < NARROW_PAGE;
    if (this.isNarrow) return Math.round(Math.min(Math.max(...this.wanted) + 18, total * 0.4));
    const wanted = this.wanted.reduce((sum, width) => sum + width + 12, 14);
    return Math.round(Math.min(wanted, 420, total * 0.34));
  }

  /** Draw the labels into their canvas of CSS size `width` by `height`. */
  draw(context, width, height) {
    const { view, fields } = this;
    const { y, rows } = view;
    context.clearRect(0, 0, width, height);
    context.textBaseline = "middle";
    context.textAlign = "left";
    const isStacked = this.isNarrow && y.height >= TWO_LINES;
    const columns = this.#columns(width);
    const step = Math.max(1, Math.ceil(LEAST_LABEL / y.height));
    const first = Math.floor(y.start / step) * step;
    const last = Math.min(rows.length - 1, Math.ceil(y.start + height / y.height));
    let before = null;
    for (let row = first; row <= last; row += step) {
      const { shown } = view.coverage.series(rows[row]);
      const top = (row - y.start) * y.height;
      const isCursor = view.cursor !== null && view.cursor.row >= row && view.cursor.row < row + step;
      if (isCursor) {
        context.fillStyle = this.palette.colours.veil;
        context.fillRect(0, top, width, Math.max(y.height, LEAST_LABEL));
      }
      if (isStacked) {
        this.#stack(context, shown, top, width);
        continue;
      }
      let isNew = before === null;
      for (const [place, field] of fields.entries()) {
        isNew ||= before[field] !== shown[field];
        const isLast = place === fields.length - 1;
        // A name that stands above already is not told again.
        if (!isNew && !isLast && !isCursor) continue;
        const isGroup = isNew && before !== null && place < fields.length - 1;
        if (isGroup && step === 1) this.#line(context, top, columns[place].left, width);
        context.font = isLast ? LABEL_FONT : LABEL_BOLD;
        context.fillStyle = isLast ? this.palette.colours.soft : this.palette.colours.ink;
        const middle = top + Math.max(y.height, LEAST_LABEL) / 2;
        context.fillText(this.#fit(context, shown[field], columns[place].width), columns[place].left, middle);
      }
      before = shown;
    }
  }

  /** Draw a name on two lines: the query below what it belongs to. */
  #stack(context, shown, top, width) {
    const { ink, soft } = this.palette.colours;
    const room = width - 14;
    const middle = top + this.view.y.height / 2;
    context.font = `11px ${FONT}`;
    context.fillStyle = soft;
    context.fillText(this.#owner(context, shown, room), 8, middle - 7);
    context.font = LABEL_FONT;
    context.fillStyle = ink;
    context.fillText(this.#fit(context, shown.query, room), 8, middle + 7);
  }

  /** Return the customer, behind as much of the source as there is room for. */
  #owner(context, { source, customer }, room) {
    if (this.fields.length < 3) return this.#fit(context, customer, room);
    const told = ` ${this.#fit(context, customer, room - LEAST_SOURCE)}`;
    return this.#fit(context, source, room - context.measureText(told).width) + told;
  }

  #columns(width) {
    const room = width - 14 - 12 * this.fields.length;
    const wanted = this.wanted.reduce((sum, one) => sum + one, 0);
    const scale = Math.min(1, room / wanted);
    let left = 14;
    return this.wanted.map((one) => {
      const column = { left, width: Math.floor(one * scale) };
      left += column.width + 12;
      return column;
    });
  }

  #line(context, top, left, width) {
    context.fillStyle = this.palette.colours.line;
    context.fillRect(left, Math.round(top), width - left, 1);
  }

  /** Shorten a name in its middle, since names of a kind often differ at their end. */
  #fit(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    const characters = Array.from(text.length > 400 ? `${text.slice(0, 200)}${text.slice(-200)}` : text);
    let low = 1;
    let high = characters.length;
    const cut = (count) => {
      const head = Math.ceil(count / 2);
      return `${characters.slice(0, head).join("")}…${characters.slice(characters.length - (count - head)).join("")}`;
    };
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText(cut(middle)).width <= width) low = middle;
      else high = middle - 1;
    }
    return cut(low);
  }
}
