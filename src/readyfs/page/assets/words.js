/** What is below a place of the picture, in words: for tooltips and for those who hear the page. */

/** Return the name of a series for people. */
function nameOfSeries(coverage, series) {
  const { source, customer, query } = series.shown;
  return (hasSources(coverage) ? [source, customer, query] : [customer, query]).join(" / ");
}

/** Whether the series have more than one source. */
function hasSources(coverage) {
  return namesOf(coverage).source.size > 1;
}

const NAMES_OF = new WeakMap();

/**
 * Return the names that occur, each part of keys for itself.
 *
 * @param {Coverage} coverage
 * @returns {{source: Set<string>, customer: Set<string>, query: Set<string>}}
 */
function namesOf(coverage) {
  let names = NAMES_OF.get(coverage);
  if (names) return names;
  names = { source: new Set(), customer: new Set(), query: new Set() };
  for (let index = 0; index < coverage.count; index++) {
    const series = coverage.series(index);
    for (const part of Object.keys(names)) names[part].add(series[part]);
  }
  NAMES_OF.set(coverage, names);
  return names;
}

/**
 * Count the cells in some rows and days by their code; both ends belong to it. What the filters hide is not counted.
 *
 * @returns {number[]} how many cells have each code
 */
function countCells(view, rows, days) {
  const { coverage } = view;
  const counts = coverage.cells.map(() => 0);
  const from = Math.max(days.first, view.extent.first);
  const to = Math.min(days.last, view.extent.last);
  for (let row = rows.first; row <= rows.last; row++) {
    const { first, codes } = coverage.series(view.rows[row]);
    const end = Math.min(codes.length, to + 1 - first);
    for (let place = Math.max(0, from - first); place < end; place++) counts[codes[place]]++;
  }
  const isShown = view.visibleMask;
  return counts.map((count, code) => (isShown[code] ? count : 0));
}

/** Return the codes that were counted, the worst first, each with how many. */
function listCounts(counts) {
  return counts.map((count, code) => ({ code, count })).filter(({ count }) => count > 0).reverse();
}

/** Return how many cells of each kind there are, in a line. */
function sayCounts(coverage, counts) {
  const listed = listCounts(counts);
  if (!listed.length) return coverage.cells[0].words;
  return listed.map(({ code, count }) => `${count} ${coverage.cells[code].words}`).join(", ");
}

/** Say why no series is shown. */
function sayNothing({ count, head }) {
  return count ? "No series passes the filters." : `${head.sumUp[0].toUpperCase()}${head.sumUp.slice(1)}.`;
}

/** Return how long ago a moment was, in the largest unit of which there is more than one. */
function sayAge(ms) {
  const units = [["day", DAY_MS], ["hour", 3600000], ["minute", 60000]];
  const [name, unit] = units.find(([, length]) => ms >= 2 * length) ?? ["second", 1000];
  return sayCount(Math.max(0, Math.floor(ms / unit)), name);
}

/** Return a number with its noun. */
function sayCount(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return how long before the page was made a date ended where its days end, in whole days; empty if it had not. */
function saySince(coverage, day) {
  const days = coverage.head.lastEnded + 1 - day;
  if (days < 1) return "";
  return days === 1 ? "ended less than a day before this page" : `ended ${sayCount(days - 1, "day")} before this page`;
}

/**
 * Say what stands at the cursor, as a reader of screens should hear it.
 *
 * @param {View} view
 * @returns {string}
 */
function sayCursor(view) {
  const { coverage, cursor } = view;
  const box = selectedBox(view);
  const isOneRow = box.rows.first === box.rows.last;
  const series = coverage.series(view.rows[cursor.row]);
  const name = isOneRow ? nameOfSeries(coverage, series) : `${box.rows.last - box.rows.first + 1} series`;
  if (isOneRow && box.days.first === box.days.last) {
    return `${name}, ${isoOf(cursor.day)}: ${sayCell(coverage, view.rows[cursor.row], cursor.day)}`;
  }
  const days = view.anchor
    ? `${isoOf(box.days.first)} to ${isoOf(box.days.last)}`
    : nameOfUnit(view.unit, cursor.day);
  return `${name}, ${days}: ${sayCounts(coverage, countCells(view, box.rows, box.days))}`;
}

/** Say what one date of a series is and why, without its name. */
function sayCell(coverage, index, day) {
  const { cell, sentence, knownReason } = coverage.detail(index, day);
  if (!cell.status) return cell.words;
  const since = cell.letter ? saySince(coverage, day) : "";
  // The sentence begins with the key, which was said already.
  const key = `${coverage.key(index, day)} `;
  const reason = sentence.startsWith(key) ? sentence.slice(key.length) : sentence;
  const words = [cell.words, since].filter(Boolean).join(", ");
  return [words, reason, knownReason && `known: ${knownReason}`].filter(Boolean).join("; ");
}
