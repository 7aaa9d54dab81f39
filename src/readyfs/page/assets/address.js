/**
 * The place of the view as the fragment of an address, so that it can be sent and kept.
 *
 * It names series and dates, and no rows or pixels. So it leads to the same place on another screen, and on a page that
 * was made later.
 *
 * @typedef {{source: string, customer: string, query: string}} SeriesName
 * @typedef {object} Spot  what an address tells; what it leaves out is null
 * @property {?{first: number, last: number}} days  the days from edge to edge
 * @property {?number} height  CSS pixels of a row
 * @property {?SeriesName} top  the series in the first row in sight
 * @property {?{name: SeriesName, day: number}} cursor
 * @property {Filter} filter
 * @property {string} sort
 */

/** A letter for each status in an address. */
const STATUS_LETTERS = { ready: "r", F: "F", M: "M", W: "W", P: "P", R: "R" };

/**
 * Return a place as text, without the `#`; empty for the place that a page begins with.
 *
 * @param {Spot} spot
 * @returns {string}
 */
function writeAddress({ days, height, top, cursor, filter, sort }) {
  const parts = [];
  const add = (name, value) => value !== null && parts.push(`${name}=${value}`);
  add("days", days && `${isoOf(days.first)}..${isoOf(days.last)}`);
  add("cursor", cursor && `${writeSeries(cursor.name)}/${isoOf(cursor.day)}`);
  add("top", top && writeSeries(top));
  add("height", height && Number(height.toPrecision(3)));
  for (const name of ["source", "customer", "query"]) add(name, filter[name] ? escapeName(filter[name]) : null);
  for (const name of ["since", "until"]) add(name, filter[name] === null ? null : isoOf(filter[name]));
  const shown = STATUS_KEYS.filter((key) => filter.statuses.has(key));
  add("show", shown.length === STATUS_KEYS.length ? null : shown.map((key) => STATUS_LETTERS[key]).join(""));
  add("sort", sort === SORTS[0] ? null : sort);
  if (filter.problemsOnly) add("problems", "only");
  return parts.join("&");
}

/**
 * Return the place that a text names. What cannot be read is left out, and named in `problems`.
 *
 * @param {string} text
 * @returns {{spot: Spot, problems: string[]}}
 */
function readAddress(text) {
  const filter = noFilter();
  const spot = { days: null, height: null, top: null, cursor: null, filter, sort: SORTS[0] };
  const problems = [];
  for (const part of text.split("&")) {
    if (!part) continue;
    const [name, ...rest] = part.split("=");
    const reader = Object.hasOwn(READERS, name) ? READERS[name] : null;
    if (!reader || !reader(spot, rest.join("="))) problems.push(part);
  }
  return { spot, problems };
}

/** How each part of an address is read into a spot; each returns whether it could be. */
const READERS = {
  days(spot, value) {
    const [first, last, ...more] = value.split("..").map(parseDay);
    const isGood = isDay(first) && isDay(last) && first <= last && !more.length;
    if (isGood) spot.days = { first, last };
    return isGood;
  },
  cursor(spot, value) {
    const end = value.lastIndexOf("/");
    const name = readSeries(value.slice(0, end));
    const day = parseDay(value.slice(end + 1));
    if (end < 0 || !name || !isDay(day)) return false;
    spot.cursor = { name, day };
    return true;
  },
  top(spot, value) {
    spot.top = readSeries(value);
    return spot.top !== null;
  },
  height(spot, value) {
    const height = /^\d+(\.\d+)?(e-?\d+)?$/.test(value) ? Number(value) : NaN;
    const isGood = height > 0 && Number.isFinite(height);
    if (isGood) spot.height = height;
    return isGood;
  },
  source: (spot, value) => readGlob(spot, "source", value),
  customer: (spot, value) => readGlob(spot, "customer", value),
  query: (spot, value) => readGlob(spot, "query", value),
  since: (spot, value) => readBound(spot, "since", value),
  until: (spot, value) => readBound(spot, "until", value),
  show(spot, value) {
    if (!/^[rFMWPR]*$/.test(value)) return false;
    spot.filter.statuses = new Set(STATUS_KEYS.filter((key) => value.includes(STATUS_LETTERS[key])));
    return true;
  },
  sort(spot, value) {
    if (!SORTS.includes(value)) return false;
    spot.sort = value;
    return true;
  },
  problems(spot, value) {
    spot.filter.problemsOnly = value === "only";
    return spot.filter.problemsOnly;
  },
};

function readGlob(spot, name, value) {
  const glob = unescapeName(value);
  if (!glob) return false;
  spot.filter[name] = glob;
  return true;
}

function readBound(spot, name, value) {
  const day = parseDay(value);
  if (!isDay(day)) return false;
  spot.filter[name] = day;
  return true;
}

function isDay(day) {
  return day !== null && day !== undefined && day >= FIRST_DAY && day <= LAST_DAY;
}

/** @param {SeriesName} name */
function writeSeries(name) {
  return [name.source, name.customer, name.query].map(escapeName).join("/");
}

/** @returns {?SeriesName} */
function readSeries(text) {
  const [source, customer, query, ...more] = text.split("/").map(unescapeName);
  if (more.length || [source, customer, query].some((part) => typeof part !== "string")) return null;
  return { source, customer, query };
}
