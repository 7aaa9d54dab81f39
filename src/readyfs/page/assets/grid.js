/**
 * The picture for those who use keys or hear the page: one grid that takes the focus, with its active cell alone in the
 * document. What is active is the view's cursor.
 */

const NOTHING_SHOWN = "Nothing is shown: the filters let no series pass.";

class Grid {
  #element = document.getElementById("grid");
  #live = document.getElementById("live");
  #row = document.createElement("div");
  #header = document.createElement("span");
  #cell = document.createElement("span");
  #box = document.createElement("div");

  /** @param {{view: View}} page */
  constructor({ view }) {
    this.view = view;
    const { coverage } = view;
    this.#row.setAttribute("role", "row");
    this.#row.className = "for-readers";
    this.#header.setAttribute("role", "rowheader");
    this.#header.setAttribute("aria-colindex", "1");
    this.#cell.setAttribute("role", "gridcell");
    this.#cell.id = "active-cell";
    this.#row.append(this.#header, this.#cell);
    this.#box.className = "selected";
    this.#box.setAttribute("aria-hidden", "true");
    this.#element.before(this.#box);
    this.#element.append(this.#row);
    const attributes = {
      role: "grid",
      tabindex: "0",
      "aria-label": `Coverage of ${coverage.count} series`,
      "aria-readonly": "true",
      "aria-multiselectable": "true",
    };
    for (const [name, value] of Object.entries(attributes)) this.#element.setAttribute(name, value);
    this.#element.addEventListener("keydown", (event) => this.#press(event));
    this.#element.addEventListener("focus", () => this.#enter());
    view.subscribe((changed) => this.#follow(changed));
    this.#describe();
  }

  /** Go to a place, as the keys do. */
  goTo(place, { isExtending = false } = {}) {
    const { view } = this;
    const anchor = isExtending ? view.anchor ?? view.cursor : null;
    view.set({ cursor: place, anchor });
    if (view.cursor) view.reveal(view.cursor.row, view.cursor.day);
  }

  focus() {
    this.#element.focus({ preventScroll: true });
  }

  /** Say something to those who hear the page. */
  say(text) {
    this.#live.textContent = text;
  }

  /** Return where the cursor is, or where it would come first. @returns {?Place} */
  get place() {
    const { view } = this;
    if (!view.rows.length) return null;
    return view.cursor ?? { row: Math.min(Math.ceil(view.y.start), view.rows.length - 1), day: view.inSight.last };
  }

  /** Choose a cell for who comes by keys; a pointer chooses one itself. */
  #enter() {
    const isByKeys = this.#element.matches(":focus-visible");
    if (isByKeys && !this.view.cursor && this.place) this.view.set({ cursor: this.place });
  }

  #press(event) {
    const { place } = this;
    if (!place || event.altKey || event.metaKey) return;
    const target = this.#target(event.key, event.ctrlKey, place);
    if (!target) return;
    event.preventDefault();
    this.goTo(target, { isExtending: event.shiftKey });
  }

  /** Return where a key leads from a place, null for a key that leads nowhere. */
  #target(key, isControl, { row, day }) {
    const { view } = this;
    const { first, last } = view.extent;
    const lastRow = view.rows.length - 1;
    if (isControl) return key === "Home" ? { row: 0, day: first } : key === "End" ? { row: lastRow, day: last } : null;
    switch (key) {
      case "ArrowLeft":
        return { row, day: startOfUnitAfter(view.unit, day, -1) };
      case "ArrowRight": {
        const after = startOfUnitAfter(view.unit, day, 1);
        return { row, day: after > last ? day : after };
      }
      case "ArrowUp":
        return { row: row - 1, day };
      case "ArrowDown":
        return { row: row + 1, day };
      case "PageUp":
        return { row: row - view.rowsInSight, day };
      case "PageDown":
        return { row: row + view.rowsInSight, day };
      case "Home":
        return { row, day: first };
      case "End":
        return { row, day: last };
      default:
        return null;
    }
  }

  #follow(changed) {
    this.#describe();
    this.#drawBox();
    const { cursor, rows } = this.view;
    if (cursor && (changed.has("cursor") || changed.has("anchor"))) this.say(sayCursor(this.view));
    else if (changed.has("rows")) this.say(rows.length ? `${rows.length} series shown` : NOTHING_SHOWN);
  }

  /** Put the active cell into the document. */
  #describe() {
    const { view, place } = this;
    const { first, last } = view.extent;
    this.#element.setAttribute("aria-rowcount", String(view.rows.length));
    this.#element.setAttribute("aria-colcount", String(last - first + 2));
    this.#row.hidden = !place;
    if (place && view.cursor) this.#element.setAttribute("aria-activedescendant", this.#cell.id);
    else this.#element.removeAttribute("aria-activedescendant");
    if (!place) return;
    const index = view.rows[place.row];
    const { unit } = view;
    const { coverage } = view;
    this.#row.setAttribute("aria-rowindex", String(place.row + 1));
    this.#header.textContent = nameOfSeries(coverage, coverage.series(index));
    this.#cell.setAttribute("aria-colindex", String(place.day - first + 2));
    this.#cell.setAttribute("aria-selected", String(view.cursor !== null));
    const around = unitAround(unit, place.day);
    const code = view.worstIn(place.row, place.row, around.first, around.last);
    const { words } = coverage.cells[code];
    this.#cell.textContent = `${nameOfUnit(unit, place.day)}: ${unit === "day" || !code ? words : `worst ${words}`}`;
  }

  /** Frame what is selected, where that is more than the cursor. */
  #drawBox() {
    const { view } = this;
    this.#box.hidden = !view.cursor || !view.anchor;
    if (this.#box.hidden) return;
    const { rows, days } = selectedBox(view);
    const begin = view.boxOf(rows.first, days.first, "day");
    const end = view.boxOf(rows.last, days.last, "day");
    Object.assign(this.#box.style, {
      left: `${begin.left}px`,
      top: `${begin.top}px`,
      width: `${end.left + end.width - begin.left}px`,
      height: `${end.top + end.height - begin.top}px`,
    });
  }
}

function startGrid(page) {
  page.grid = new Grid(page);
}
