/** What is below the pointer or the cursor, beside it: run, records, age, the reason and the remedy. */

/** CSS pixels between the tooltip and what it is about. */
const TOOLTIP_AIR = 12;

class Tooltip {
  #element = document.getElementById("tooltip");
  #heat = document.getElementById("heat");
  #isPinned = false;
  /** The point that the pointer is at, in the heat map. @type {?{left: number, top: number}} */
  #point = null;
  #isAsked = false;

  /** @param {{view: View}} page */
  constructor({ view }) {
    this.view = view;
    this.#element.setAttribute("role", "tooltip");
    document.getElementById("grid").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.toggle();
    });
    this.#heat.addEventListener("pointermove", (event) => this.#hover(event));
    this.#heat.addEventListener("pointerleave", () => this.#leave());
    this.#heat.addEventListener("click", (event) => this.#choose(event));
    // On a telephone there is no Escape.
    document.addEventListener("pointerdown", ({ target }) => {
      if (this.#isPinned && !this.#element.contains(target) && !this.#heat.contains(target)) this.close();
    });
    view.subscribe((changed) => this.#follow(changed));
    // The tooltip has its place in the window, and what it is about moves in it.
    window.addEventListener("scroll", () => this.#scroll(), { passive: true });
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  /** Open at the cursor, or close what is open there. */
  toggle() {
    if (this.isOpen && this.#isPinned) {
      this.close();
      return;
    }
    if (!this.view.cursor) return;
    this.#isPinned = true;
    this.#showCursor();
  }

  close() {
    this.#isPinned = false;
    this.#element.hidden = true;
    document.getElementById("grid").removeAttribute("aria-describedby");
  }

  #hover(event) {
    if (event.pointerType === "touch" || event.buttons) return;
    this.#point = this.#pointOf(event);
    if (this.#isPinned || this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      if (!this.#isPinned) this.#showPoint();
    });
  }

  #leave() {
    this.#point = null;
    if (!this.#isPinned) this.close();
  }

  /** A click pins the tooltip to its cell, so that its text can be read at leisure and copied. */
  #choose(event) {
    const { left, top } = this.#pointOf(event);
    this.#isPinned = this.view.placeAt(left, top) !== null;
    // The press has moved the cursor there by now.
    if (this.#isPinned && this.view.cursor) this.#showCursor();
    else this.close();
  }

  #follow(changed) {
    if (!this.isOpen && !this.#isPinned) return;
    if (this.#isPinned && this.view.cursor) this.#showCursor();
    else if (this.#point && !changed.has("cursor")) this.#showPoint();
    else this.close();
  }

  #scroll() {
    this.#point = null;
    if (this.#isPinned && this.view.cursor) this.#showCursor();
    else this.close();
  }

  #pointOf(event) {
    const frame = this.#heat.getBoundingClientRect();
    return { left: event.clientX - frame.left, top: event.clientY - frame.top };
  }

  #showPoint() {
    const { view } = this;
    const place = this.#point && view.placeAt(this.#point.left, this.#point.top);
    if (!place) {
      this.close();
      return;
    }
    const { x, y, unit, extent } = view;
    const { left, top } = this.#point;
    // Where a pixel stands for many dates or series, all of those below it are told of.
    const rows = { first: place.row, last: Math.max(place.row, Math.ceil(y.start + (top + 1) / y.height) - 1) };
    rows.last = Math.min(rows.last, view.rows.length - 1);
    const days = x.perPixel > 1 ? unitAround(unit, place.day) : { first: place.day, last: place.day };
    days.first = Math.max(days.first, extent.first);
    days.last = Math.min(days.last, extent.last);
    if (y.height >= 1) rows.last = place.row;
    this.#show(rows, days, { left, top, width: 0, height: 0 });
  }

  #showCursor() {
    const { view } = this;
    const { row, day } = view.cursor;
    const { rows, days } = selectedBox(view);
    const box = view.boxOf(row, day);
    if (!this.#isInSight(box)) {
      this.#element.hidden = true;
      return;
    }
    this.#show(rows, days, box);
    document.getElementById("grid").setAttribute("aria-describedby", this.#element.id);
  }

  /** Whether some of a box is in the heat map and in the window. */
  #isInSight({ left, top, width, height }) {
    const { size } = this.view;
    const above = this.#heat.getBoundingClientRect().top + top;
    const isInHeat = left <= size.width && left + width >= 0 && top <= size.height && top + height >= 0;
    return isInHeat && above <= innerHeight && above + height >= 0;
  }

  #show(rows, days, box) {
    const { view } = this;
    const isCell = rows.first === rows.last && days.first === days.last;
    const parts = isCell ? describeCell(view, rows.first, days.first) : describeStretch(view, rows, days);
    this.#element.replaceChildren(...parts);
    this.#element.classList.toggle("is-pinned", this.#isPinned);
    this.#element.hidden = false;
    this.#put(box);
  }

  /** Put the tooltip beside a box of the heat map, where the window has room. */
  #put(box) {
    const frame = this.#heat.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#element;
    const room = { width: document.documentElement.clientWidth, height: document.documentElement.clientHeight };
    const right = frame.left + box.left + box.width + TOOLTIP_AIR;
    const left = right + width <= room.width ? right : frame.left + box.left - TOOLTIP_AIR - width;
    const below = frame.top + box.top + box.height + TOOLTIP_AIR;
    const top = below + height <= room.height ? below : frame.top + box.top - TOOLTIP_AIR - height;
    Object.assign(this.#element.style, {
      left: `${Math.max(4, Math.min(left, room.width - width - 4))}px`,
      top: `${Math.max(4, Math.min(top, room.height - height - 4))}px`,
    });
  }
}

/** Return the elements that tell of one date of a series. */
function describeCell(view, row, day) {
  const { coverage } = view;
  const index = view.rows[row];
  const series = coverage.series(index);
  const { cell, run, records, updated, attempts, sentence, remedy, knownReason } = coverage.detail(index, day);
  const age = updated === null ? "" : `${sayAge(coverage.head.madeAt - updated)} before this page`;
  const facts = [
    ["Run", run],
    ["Records", records === null ? "" : manyWords(records)],
    ["Written", updated === null ? "" : `${showMoment(updated)}, ${age}`],
    ["Attempts", attempts],
    ["Ended", cell.letter ? saySince(coverage, day).replace("ended ", "") : ""],
    ["Known", knownReason],
  ];
  return [
    element("strong", nameOfSeries(coverage, series)),
    element("p", `${isoOf(day)}: ${cell.words}`),
    listFacts(facts),
    ...(cell.status ? [element("p", sentence, "reason"), element("p", remedy ? `Remedy: ${remedy}` : "")] : []),
  ].filter((one) => one.textContent);
}

/** Return the elements that tell of many dates: what there is, the worst first. */
function describeStretch(view, rows, days) {
  const { coverage } = view;
  const series = coverage.series(view.rows[rows.first]);
  const count = rows.last - rows.first + 1;
  const name = nameOfSeries(coverage, series) + (count > 1 ? ` and ${count - 1} more` : "");
  const listed = listCounts(countCells(view, rows, days));
  const dates = days.first === days.last ? isoOf(days.first) : `${isoOf(days.first)} to ${isoOf(days.last)}`;
  const facts = listed.map(({ code, count: cells }) => [coverage.cells[code].words, cells]);
  const worst = listed.length ? `Worst: ${coverage.cells[listed[0].code].words}` : sayCounts(coverage, []);
  return [element("strong", name), element("p", dates), element("p", worst), listFacts(facts)];
}

/** Return a list of facts; those that are empty are left out. */
function listFacts(facts) {
  const list = document.createElement("dl");
  for (const [name, value] of facts) {
    if (value === null || value === undefined || value === "") continue;
    list.append(element("dt", name), element("dd", String(value)));
  }
  return list;
}

function startTooltip(page) {
  page.tooltip = new Tooltip(page);
}
