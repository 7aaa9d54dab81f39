/** The dates above the picture: what is marked at each zoom, and the marks on a canvas. */

/**
 * Pairs of a fine and a coarse unit, the finest first. A pair is taken if a fine one has `least` CSS pixels.
 *
 * A `step` is how many of the unit lie between marks.
 */
const SCALES = [
  { fine: "day", step: 1, least: 20, coarse: "month" },
  { fine: "week", step: 1, least: 24, coarse: "month" },
  { fine: "month", step: 1, least: 30, coarse: "year" },
  { fine: "quarter", step: 1, least: 26, coarse: "year" },
  { fine: "year", step: 1, least: 38, coarse: null },
  { fine: "year", step: 5, least: 38, coarse: null },
  { fine: "year", step: 10, least: 38, coarse: null },
  { fine: "year", step: 50, least: 38, coarse: null },
  { fine: "year", step: 100, least: 38, coarse: null },
  { fine: "year", step: 500, least: 38, coarse: null },
  { fine: "year", step: 1000, least: 0, coarse: null },
];

/** CSS pixels of a day from which its weekday is told. */
const LEAST_WEEKDAY = 46;

/** Return the scale for a zoom in days per CSS pixel. */
function scaleAt(perPixel) {
  return SCALES.find(({ fine, step, least }) => (UNIT_DAYS[fine] * step) / perPixel >= least);
}

/** Return the days from `first` to `last` at which a unit begins, each step of it; and the one before. */
function marksOf(unit, step, first, last) {
  const marks = [];
  let day = startOfUnit(unit, first);
  if (step > 1) day = dayOf(Math.floor(partsOf(day).year / step) * step, 0, 1);
  for (; day <= last; day = startOfUnitAfter(unit, day, step)) marks.push(day);
  // There is no year 0.
  return marks.filter((mark) => mark >= FIRST_DAY);
}

function fineLabel(unit, day) {
  const { year, month, date } = partsOf(day);
  if (unit === "day" || unit === "week") return String(date);
  if (unit === "month") return MONTHS[month];
  if (unit === "quarter") return `Q${month / 3 + 1}`;
  return String(year);
}

function coarseLabel(unit, day) {
  const { year, month } = partsOf(day);
  return unit === "month" ? `${MONTHS[month]} ${year}` : String(year);
}

/** Draw the axis into its canvas of CSS size `width` by `height`. */
function drawAxis(context, view, palette, width, height) {
  const { x } = view;
  const { ink, soft, line } = palette.colours;
  const { fine, step, coarse } = scaleAt(x.perPixel);
  const first = Math.floor(x.start);
  const last = Math.ceil(x.start + width * x.perPixel);
  const leftOf = (day) => (day - x.start) / x.perPixel;
  context.clearRect(0, 0, width, height);
  if (view.isEmpty) return;
  context.textBaseline = "alphabetic";
  const low = height - 8;
  context.textAlign = "left";
  const isDays = fine === "day";
  for (const day of marksOf(fine, step, Math.max(first, FIRST_DAY), Math.min(last, LAST_DAY))) {
    const left = Math.round(leftOf(day));
    context.fillStyle = line;
    context.fillRect(left, height - 5, 1, 5);
    if (isDays && weekdayOf(day) > 4) {
      context.globalAlpha = 0.5;
      context.fillRect(left, height - 20, Math.round(leftOf(day + 1)) - left, 20);
      context.globalAlpha = 1;
    }
    context.font = `11px ${FONT}`;
    context.fillStyle = soft;
    if (isDays) {
      context.textAlign = "center";
      const weekday = 1 / x.perPixel >= LEAST_WEEKDAY ? `${WEEKDAYS[weekdayOf(day)]} ` : "";
      context.fillText(weekday + fineLabel(fine, day), (left + leftOf(day + 1)) / 2, low);
      context.textAlign = "left";
    } else if (left >= -3) context.fillText(fineLabel(fine, day), left + 4, low);
  }
  if (!coarse) return;
  context.font = `600 12px ${FONT}`;
  const marks = marksOf(coarse, 1, Math.max(first, FIRST_DAY), Math.min(last, LAST_DAY));
  for (const [place, day] of marks.entries()) {
    const left = Math.round(leftOf(day));
    const end = place + 1 < marks.length ? leftOf(marks[place + 1]) : Infinity;
    const text = coarseLabel(coarse, day);
    // The unit that begins left of the picture keeps its name in sight until the next one pushes it out.
    const at = Math.min(Math.max(left + 4, 4), end - context.measureText(text).width - 10);
    const hasRoom = at >= 0;
    context.fillStyle = line;
    context.fillRect(left, 2, 1, height - 2);
    context.fillStyle = ink;
    if (hasRoom) context.fillText(text, at, 15);
  }
}

/** Draw fine lines behind the cells of the picture where the coarse unit of the axis begins. */
function drawUnitLines(context, view, palette, ratio, height) {
  if (view.isEmpty) return;
  const { x } = view;
  const { fine, step, coarse } = scaleAt(x.perPixel);
  const unit = coarse ?? fine;
  context.fillStyle = palette.colours["strong-line"];
  const last = Math.ceil(x.start + view.size.width * x.perPixel);
  const first = Math.max(Math.floor(x.start), FIRST_DAY);
  for (const day of marksOf(unit, coarse ? 1 : step, first, Math.min(last, LAST_DAY))) {
    context.fillRect(Math.round(((day - x.start) / x.perPixel) * ratio) - 1, 0, 1, height);
  }
}
