/** What is selected: the rows and the days from the anchor to the cursor. Without a cursor it is all that is shown. */

/**
 * @typedef {object} Selection
 * @property {number[]} series  indexes of the selected series
 * @property {number} first  the first selected day
 * @property {number} last  the last selected day, itself included
 * @property {?Filter} filter  the filter whose three texts let pass just these series; null if there is none
 */

/**
 * Return what is selected. Days are selected by the unit of the zoom.
 *
 * @param {View} view
 * @returns {Selection}
 */
function selectionOf(view) {
  const { first, last } = view.extent;
  const { filter } = view;
  if (!view.cursor) return { series: Array.from(view.rows), first, last, filter: filter.problemsOnly ? null : filter };
  const { rows, days } = selectedBox(view);
  return {
    series: Array.from(view.rows.subarray(rows.first, rows.last + 1)),
    first: Math.max(first, days.first),
    last: Math.min(last, days.last),
    filter: null,
  };
}

/** Return the rows and the days that are selected where there is a cursor; both ends belong to it. */
function selectedBox(view) {
  const { cursor } = view;
  const anchor = view.anchor ?? cursor;
  return {
    rows: { first: Math.min(anchor.row, cursor.row), last: Math.max(anchor.row, cursor.row) },
    days: {
      first: unitAround(view.unit, Math.min(anchor.day, cursor.day)).first,
      last: unitAround(view.unit, Math.max(anchor.day, cursor.day)).last,
    },
  };
}
