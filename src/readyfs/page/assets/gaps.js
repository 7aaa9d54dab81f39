/** The way from gap to gap. A gap is what `readyfs gaps` lists: dates in a row that are late, all for one reason. */

/** Whether a cell is part of a gap. */
function isGap(cell) {
  return ["known", "guessed", "warn", "error"].includes(cell.level);
}

/**
 * Return where the next gap begins, in the order of the picture; null if there is none.
 *
 * @param {View} view
 * @param {Place} from
 * @param {1 | -1} direction
 * @param {boolean} isWithin whether to stay in the series
 * @returns {?Place}
 */
function nextGap(view, from, direction, isWithin) {
  const { rows, pyramid, extent } = view;
  const isMeant = view.filter.problemsOnly ? isLate : isGap;
  const firstGap = view.coverage.cells.findIndex(isMeant);
  const end = isWithin ? from.row + direction : direction > 0 ? rows.length : -1;
  for (let row = from.row; row !== end; row += direction) {
    // Of very many series nearly all have none.
    if (pyramid.worst(rows[row], extent.first, extent.last + 1) < firstGap) continue;
    const starts = gapStarts(view, row, isMeant);
    const day = direction > 0
      ? starts.find((start) => row !== from.row || start > from.day)
      : starts.findLast((start) => row !== from.row || start < from.day);
    if (day !== undefined) return { row, day };
  }
  return null;
}

/** Return the days on which the gaps of a row begin whose cells are meant, as far as the filters show them. */
function gapStarts(view, row, isMeant) {
  const { coverage, extent } = view;
  const isShown = view.visibleMask;
  const { first, codes } = coverage.series(view.rows[row]);
  const starts = [];
  const end = Math.min(codes.length, extent.last + 1 - first);
  let before = 0;
  for (let place = Math.max(0, extent.first - first); place < end; place++) {
    const code = codes[place];
    // Days of which nothing is expected, such as those of a weekend, end no gap.
    if (!code) continue;
    if (code !== before && isShown[code] && isMeant(coverage.cells[code])) starts.push(first + place);
    before = code;
  }
  return starts;
}
