/**
 * What the page shows at present: the one thing of it that changes.
 *
 * Parts read it, change it by `set`, and are told in the next frame what changed. Nobody else keeps a place, a zoom, a
 * filter or a cursor.
 *
 * @typedef {{row: number, day: number}} Place `row` is an index into `view.rows`.
 * @typedef {{source: string, customer: string, query: string, statuses: Set<string>, problemsOnly: boolean,
 *   since: number | null, until: number | null}} Filter
 *   `statuses` holds what is shown: "ready", and the letters F, M, W, P and R, late or not.
 *   The three texts are globs as the filters of a mount; an empty one lets all pass.
 */

/** What the filters can let pass, in the order of the legend. */
const STATUS_KEYS = ["ready", "F", "M", "W", "P", "R"];

const SORTS = ["key", "worst", "longest"];

/** CSS pixels of one day, at most; and of one row. */
const MOST_PER_DAY = 260;
const MOST_ROW = 44;
const USUAL_ROW = 18;

/** Rows of a narrow picture are higher: for fingers, and for names of two lines. */
const NARROW_PX = 420;
const NARROW_ROW = 34;

/** A unit is what arrows move by if each has at least so many CSS pixels. */
const LEAST_UNIT = 7;

/** @returns {Filter} */
function noFilter() {
  return {
    source: "", customer: "", query: "", statuses: new Set(STATUS_KEYS), problemsOnly: false, since: null, until: null,
  };
}

/** Return what the filters call the status of a cell: "ready", a letter in upper case, or null where nothing is. */
function statusKey(cell) {
  if (!cell.status) return null;
  return cell.letter ? cell.letter.toUpperCase() : "ready";
}

/** Whether a cell is worth a warning or an alarm. */
function isLate(cell) {
  return cell.level === "warn" || cell.level === "error";
}

class View {
  /** @param coverage what `readCoverage` found */
  constructor(coverage) {
    this.coverage = coverage;
    /** CSS pixels of the heat map, and device pixels of each; whoever draws it says so. */
    this.size = { width: 800, height: 400, ratio: 1 };
    this.filter = noFilter();
    this.sort = "key";
    /** The first day at the left edge, and days per CSS pixel. */
    this.x = { start: coverage.first, perPixel: 1 };
    /** The first row at the top edge, and CSS pixels per row, which may be below 1. */
    this.y = { start: 0, height: USUAL_ROW };
    /** @type {Place | null} */
    this.cursor = null;
    /** The other corner of what is selected, null where the cursor alone is. @type {Place | null} */
    this.anchor = null;
    this.pyramid = new Pyramid(coverage, this.visibleMask);
    /** Indexes of the series that are shown, in their order. */
    this.rows = this.#choose();
  }

  #listeners = new Set();
  #changed = new Set();
  #isAsked = false;

  /** For each code of a cell whether the filters show it. */
  get visibleMask() {
    return this.coverage.cells.map((cell) => {
      const key = statusKey(cell);
      return key !== null && this.filter.statuses.has(key);
    });
  }

  /** The first and the last day that the filters let pass. */
  get extent() {
    const first = this.filter.since ?? this.coverage.first;
    const last = this.filter.until ?? this.coverage.last;
    return { first, last: Math.max(first, last) };
  }

  /** Whether there is no date at all. */
  get isEmpty() {
    return this.coverage.last < this.coverage.first;
  }

  /** The first and the last day in sight, but for a pixel of air at each edge. */
  get inSight() {
    const { first, last } = this.extent;
    const { start, perPixel } = this.x;
    // A little more than the air, so that no rounding counts a day of which nothing is seen.
    const air = perPixel * (1 + 1e-6);
    const end = start + this.size.width * perPixel - air;
    return {
      first: Math.min(last, Math.max(first, Math.floor(start + air))),
      last: Math.max(first, Math.min(last, Math.ceil(end) - 1)),
    };
  }

  /** The finest unit that has some room at this zoom. @returns {Unit} */
  get unit() {
    return UNITS.find((unit) => UNIT_DAYS[unit] / this.x.perPixel >= LEAST_UNIT) ?? "year";
  }

  /** The height of rows that nobody changed. */
  get usualRow() {
    return wholePixels(this.size.width < NARROW_PX ? NARROW_ROW : USUAL_ROW, this.size.ratio);
  }

  /** How many rows fit, at least 1. */
  get rowsInSight() {
    return Math.max(1, Math.floor(this.size.height / this.y.height));
  }

  /**
   * Change some of `x`, `y`, `cursor` with `anchor`, `filter`, `sort` and `size`, each given whole or in part.
   *
   * All is kept within what there is to see. Listeners are told in the next frame.
   */
  set(patch) {
    const cursorSeries = this.cursor && this.rows[this.cursor.row];
    const isUsual = this.y.height === this.usualRow;
    if (patch.size) this.#put("size", { ...this.size, ...patch.size });
    if (patch.size && isUsual) patch = { ...patch, y: { height: this.usualRow, ...patch.y } };
    if (patch.filter) this.#put("filter", { ...this.filter, ...patch.filter });
    if (patch.sort !== undefined && SORTS.includes(patch.sort)) this.#put("sort", patch.sort);
    if (patch.filter && "statuses" in patch.filter) this.pyramid = new Pyramid(this.coverage, this.visibleMask);
    if (patch.filter || patch.sort !== undefined) this.#put("rows", this.#choose());
    if (patch.x || patch.size || patch.filter) this.#put("x", this.#boundedX({ ...this.x, ...patch.x }));
    if (patch.y || patch.size || patch.filter || patch.sort !== undefined) {
      this.#put("y", this.#boundedY({ ...this.y, ...patch.y }));
    }
    if ("cursor" in patch) {
      this.#put("cursor", this.#boundedCursor(patch.cursor));
      this.#put("anchor", this.#boundedCursor(patch.anchor ?? null));
    } else if (this.cursor && this.#changed.has("rows")) {
      this.#put("anchor", null);
      const row = this.rows.indexOf(cursorSeries);
      this.#put("cursor", row < 0 ? null : this.#boundedCursor({ ...this.cursor, row }));
    }
  }

  /** Call a listener in each frame before which something changed, with the names of what did. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Show these days from edge to edge, with a little air. */
  zoomTo({ first, last }) {
    const days = last - first + 1;
    const perPixel = days / Math.max(1, this.size.width - 2);
    this.set({ x: { perPixel, start: first - perPixel } });
  }

  /** Show all days that the filters let pass. */
  zoomToAll() {
    this.zoomTo(this.extent);
  }

  /** Zoom about a place of the heat map, by default its middle. A factor above 1 shows fewer days. */
  zoomBy(factor, at = this.size.width / 2) {
    const day = this.x.start + at * this.x.perPixel;
    const { perPixel } = this.#boundedX({ start: this.x.start, perPixel: this.x.perPixel / factor });
    this.set({ x: { perPixel, start: day - at * perPixel } });
  }

  /** Make rows higher or lower about a place of the heat map, by default its middle. */
  zoomRowsBy(factor, at = this.size.height / 2) {
    const row = this.y.start + at / this.y.height;
    const { height } = this.#boundedY({ start: this.y.start, height: this.y.height * factor });
    this.set({ y: { height, start: row - at / height } });
  }

  /** Move as little as needed so that a place is in sight, with its neighbours. */
  reveal(row, day) {
    const { first, last } = unitAround(this.unit, day);
    const days = this.size.width * this.x.perPixel;
    const air = Math.min(days / 4, 3 * (last - first + 1));
    let { start } = this.x;
    if (first - air < start) start = first - air;
    else if (last + 1 + air > start + days) start = last + 1 + air - days;
    const rows = this.size.height / this.y.height;
    let top = this.y.start;
    if (row < top) top = row;
    else if (row + 1 > top + rows) top = row + 1 - rows;
    this.set({ x: { start }, y: { start: top } });
  }

  /** Return the place below a point of the heat map in CSS pixels, null where no row or day of the filters is. */
  placeAt(left, top) {
    const row = Math.floor(this.y.start + top / this.y.height);
    const day = Math.floor(this.x.start + left * this.x.perPixel);
    const { first, last } = this.extent;
    if (row < 0 || row >= this.rows.length || day < first || day > last) return null;
    return { row, day };
  }

  /** Return where in the heat map a unit of a row is, in CSS pixels; it may be out of sight. */
  boxOf(row, day, unit = this.unit) {
    const { first, last } = unitAround(unit, day);
    return {
      left: (first - this.x.start) / this.x.perPixel,
      top: (row - this.y.start) * this.y.height,
      width: (last + 1 - first) / this.x.perPixel,
      height: this.y.height,
    };
  }

  /** Return the worst code of some rows in a stretch of days; both ends belong to it. What is not shown is nothing. */
  worstIn(rowFrom, rowTo, dayFrom, dayTo) {
    let worst = 0;
    for (let row = rowFrom; row <= rowTo; row++) {
      worst = Math.max(worst, this.pyramid.worst(this.rows[row], dayFrom, dayTo + 1));
    }
    return worst;
  }

  #put(name, value) {
    if (isSame(this[name], value)) return;
    this[name] = value;
    this.#changed.add(name);
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => this.#tell());
  }

  #tell() {
    this.#isAsked = false;
    const changed = this.#changed;
    this.#changed = new Set();
    for (const listener of this.#listeners) listener(changed);
  }

  #boundedX({ start, perPixel }) {
    const { first, last } = this.extent;
    const { width } = this.size;
    const most = (last - first + 1) / Math.max(1, width - 2);
    const bounded = Math.min(Math.max(perPixel, 1 / MOST_PER_DAY), Math.max(most, 1 / MOST_PER_DAY));
    const days = width * bounded;
    const least = first - bounded;
    const room = Math.max(0, last + 1 + bounded - least - days);
    return { start: Math.min(Math.max(start, least), least + room), perPixel: bounded };
  }

  #boundedY({ start, height }) {
    const lowest = Math.min(this.usualRow, this.size.height / Math.max(1, this.rows.length));
    const bounded = wholePixels(Math.min(Math.max(height, lowest), MOST_ROW), this.size.ratio);
    const last = Math.max(0, this.rows.length - this.size.height / bounded);
    return { start: Math.min(Math.max(0, start), last), height: bounded };
  }

  #boundedCursor(cursor) {
    if (!cursor || !this.rows.length) return null;
    const { first, last } = this.extent;
    return {
      row: Math.min(Math.max(0, cursor.row), this.rows.length - 1),
      day: Math.min(Math.max(first, cursor.day), last),
    };
  }

  #choose() {
    return chooseRows(this.coverage, this.pyramid, this.filter, this.sort, this.extent);
  }
}

/** Return a height of rows that has whole device pixels, if it has one at all. */
function wholePixels(height, ratio) {
  return height * ratio >= 1 ? Math.floor(height * ratio + 1e-6) / ratio : height;
}

function isSame(one, other) {
  if (one === other) return true;
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") return false;
  if (one instanceof Uint32Array || one instanceof Set) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
