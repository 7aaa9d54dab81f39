// Dates as numbers: days since 1970-01-01.

const MS_OF_DAY = 86_400_000;

/**
 * Return a day as people write it, as in 2024-06-01.
 * @param {number} day
 * @returns {string}
 */
function dateText(day) {
  return new Date(day * MS_OF_DAY).toISOString().slice(0, 10);
}

/**
 * Return the day of such a text; null if it is none.
 * @param {string} text
 * @returns {?number}
 */
function dayOfText(text) {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN;
  const day = ms / MS_OF_DAY;
  return Number.isInteger(day) && dateText(day) === text ? day : null;
}
