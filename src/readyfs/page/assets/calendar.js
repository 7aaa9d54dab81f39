/**
 * Days and the units that people count them in. A day is the number of days since 1970-01-01.
 *
 * @typedef {"day" | "week" | "month" | "quarter" | "year"} Unit
 */

const DAY_MS = 86400000;

/** The units, the finest first. */
const UNITS = /** @type {Unit[]} */ (["day", "week", "month", "quarter", "year"]);

/** How many days each of them has, about. */
const UNIT_DAYS = { day: 1, week: 7, month: 30.437, quarter: 91.31, year: 365.2425 };

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/** The first and the last day that a date can have: 0001-01-01 and 9999-12-31. */
const FIRST_DAY = -719162;
const LAST_DAY = 2932896;

/** Return the day of a year, a month from 0 and a day of the month; months and days may be out of their ranges. */
function dayOf(year, month, date) {
  const made = new Date(0);
  made.setUTCFullYear(year, month, date);
  return Math.round(made.getTime() / DAY_MS);
}

/** Return the year, the month from 0 and the day of the month. */
function partsOf(day) {
  const date = new Date(day * DAY_MS);
  return { year: date.getUTCFullYear(), month: date.getUTCMonth(), date: date.getUTCDate() };
}

/** Return 0 for a Monday up to 6 for a Sunday. */
function weekdayOf(day) {
  return (((day + 3) % 7) + 7) % 7;
}

/** Write a day as `YYYY-MM-DD`. */
function isoOf(day) {
  const { year, month, date } = partsOf(day);
  return `${String(year).padStart(4, "0")}-${String(month + 1).padStart(2, "0")}-${String(date).padStart(2, "0")}`;
}

/** Read `YYYY-MM-DD`, null if it is no date. */
function parseDay(text) {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text.trim());
  if (!found) return null;
  const day = dayOf(Number(found[1]), Number(found[2]) - 1, Number(found[3]));
  return isoOf(day) === found[0] && day >= FIRST_DAY ? day : null;
}

/** Return the first day of the unit that holds a day. Weeks begin on Mondays. */
function startOfUnit(unit, day) {
  if (unit === "day") return day;
  if (unit === "week") return day - weekdayOf(day);
  const { year, month } = partsOf(day);
  if (unit === "month") return dayOf(year, month, 1);
  if (unit === "quarter") return dayOf(year, month - (month % 3), 1);
  return dayOf(year, 0, 1);
}

/** Return the first day of the unit that is so many units after the one that holds a day. */
function startOfUnitAfter(unit, day, count) {
  const start = startOfUnit(unit, day);
  if (unit === "day") return start + count;
  if (unit === "week") return start + 7 * count;
  const { year, month } = partsOf(start);
  if (unit === "year") return dayOf(year + count, 0, 1);
  return dayOf(year, month + (unit === "month" ? 1 : 3) * count, 1);
}

/** Return the first and the last day of the unit that holds a day. */
function unitAround(unit, day) {
  return { first: startOfUnit(unit, day), last: startOfUnitAfter(unit, day, 1) - 1 };
}

/** Name the unit that holds a day in words: `2024-06-03`, `week of 2024-06-03`, `June 2024` as `2024-06`, and so on. */
function nameOfUnit(unit, day) {
  const start = startOfUnit(unit, day);
  const iso = isoOf(start);
  if (unit === "day") return iso;
  if (unit === "week") return `week of ${iso}`;
  if (unit === "month") return iso.slice(0, 7);
  if (unit === "quarter") return `${iso.slice(0, 4)} Q${partsOf(start).month / 3 + 1}`;
  return iso.slice(0, 4);
}
