/** Which series are shown, and in which order. */

/**
 * @param coverage what `readCoverage` found
 * @param {Pyramid} pyramid of the statuses that are shown
 * @param {Filter} filter
 * @param {string} sort one of SORTS
 * @param {{first: number, last: number}} extent the days that are shown
 * @returns {Uint32Array} indexes of series
 */
function chooseRows(coverage, pyramid, filter, sort, extent) {
  const count = coverage.count;
  const chosen = new Uint32Array(count);
  const matchers = ["source", "customer", "query"]
    .filter((field) => filter[field] !== "")
    .map((field) => ({ field, matches: globMatcher(filter[field]) }));
  const firstLate = coverage.cells.findIndex(isLate);
  let length = 0;
  for (let index = 0; index < count; index++) {
    if (filter.problemsOnly && pyramid.worst(index, extent.first, extent.last + 1) < firstLate) continue;
    if (matchers.length) {
      const series = coverage.series(index);
      if (!matchers.every(({ field, matches }) => matches(series[field]))) continue;
    }
    chosen[length++] = index;
  }
  const rows = chosen.slice(0, length);
  const { places } = coverage;
  const worse = ORDERS[sort];
  if (!worse) return rows.sort((one, other) => places[one] - places[other]);
  const ranks = new Map();
  for (const index of rows) ranks.set(index, worse(coverage.series(index)));
  return rows.sort((one, other) => compare(ranks.get(one), ranks.get(other)) || places[one] - places[other]);
}

/** For each order the numbers by which a series comes earlier the smaller they are. */
const ORDERS = {
  worst: (series) => [-series.error, -series.warn, -series.guessed, -series.waiting],
  longest: (series) => [series.firstLate ?? Infinity, -series.error, -series.warn],
};

function compare(one, other) {
  for (let place = 0; place < one.length; place++) {
    if (one[place] !== other[place]) return one[place] < other[place] ? -1 : 1;
  }
  return 0;
}
