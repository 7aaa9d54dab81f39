/**
 * How one cell looks: the one place that knows, for the picture and for its legend.
 *
 * Colour says how bad it is. What it is can be read without colour: by a letter where there is room, else by a shape.
 * What is late fills its cell; what is ready or not late is lower.
 */

/** CSS pixels that a cell must have each way to hold a letter, and a shape. */
const LEAST_LETTER = 9;
const LEAST_SHAPE = 5;

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

/**
 * Draw a cell into a box of a canvas.
 *
 * @param {CanvasRenderingContext2D} context
 * @param cell one of `coverage.cells`
 * @param {Palette} palette
 * @param {{x: number, y: number, width: number, height: number}} box in device pixels
 * @param {number} ratio device pixels per CSS pixel
 */
function drawCell(context, cell, palette, box, ratio) {
  if (!cell.status) return;
  const { fill, on } = palette.ofCell(cell);
  const hasGaps = box.height >= LEAST_SHAPE * ratio;
  const body = { ...box };
  if (hasGaps) {
    const gap = Math.max(1, Math.round(ratio));
    body.y += gap;
    body.height -= 2 * gap;
    if (box.width >= 4 * ratio) body.width -= gap;
  }
  if (!hasGaps) {
    context.fillStyle = fill;
    context.fillRect(body.x, body.y, body.width, body.height);
    return;
  }
  if (!isLate(cell)) lower(body, shareBeside(cell, palette), ratio);
  const least = LEAST_LETTER * ratio;
  const hasRoom = box.width >= least && box.height >= least;
  const radius = hasRoom ? Math.min(2.5 * ratio, body.width / 4) : 0;
  context.fillStyle = fill;
  if (cell.letter && !hasRoom) {
    for (const part of shapeOf(cell, body)) context.fillRect(part.x, part.y, part.width, part.height);
    return;
  }
  context.beginPath();
  context.roundRect(body.x, body.y, body.width, body.height, radius);
  context.fill();
  if (!cell.letter) return;
  const size = Math.min(box.height - 5 * ratio, box.width - ratio, 12 * ratio);
  context.fillStyle = on;
  context.font = `600 ${Math.max(size, 7 * ratio)}px ${FONT}`;
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  const capital = context.measureText("M").actualBoundingBoxAscent;
  const base = Math.round(box.y + (box.height + capital) / 2);
  // A wide letter is made narrower where it would touch the next one.
  context.fillText(cell.letter, body.x + body.width / 2, base, Math.max(1, body.width - ratio));
}

/** Make a body lower that is not late: a calm ribbon between those that stand out. */
function lower(body, share, ratio) {
  const inset = Math.min(Math.round(body.height * share), Math.floor((body.height - ratio) / 2));
  body.y += inset;
  body.height -= 2 * inset;
}

/** Return which share of its height such a cell leaves free above and below. */
function shareBeside(cell, palette) {
  if (cell.status !== "ready") return 0.14;
  if (!cell.expected) return 0.32;
  // Where colours are the system's own, height alone tells what is ready from what is not.
  return palette.isForced ? 0.36 : 0.14;
}

/** Return the parts that tell a status by their shape, whatever the width. */
function shapeOf(cell, body) {
  const { x, y, width, height } = body;
  const half = Math.ceil(height / 2);
  switch (cell.letter.toUpperCase()) {
    case "M": {
      // Broken in its middle: something is not there.
      const end = Math.ceil(height * 0.36);
      return [{ x, y, width, height: end }, { x, y: y + height - end, width, height: end }];
    }
    case "W": {
      // Barred: it is there, and is not let out.
      const bar = Math.max(1, Math.round(height / 5));
      return [0, 2, 4].map((place) => ({ x, y: y + place * bar, width, height: bar }));
    }
    case "P":
      return [{ x, y: y + height - half, width, height: half }];
    case "R":
      return [{ x, y, width, height: half }];
    default:
      return [body];
  }
}
