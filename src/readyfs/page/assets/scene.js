/** A scene: one zoom of one choice of rows, and the worst of what lies below each of its pixels. */

/** All that decides what a tile looks like: its zoom in device pixels, and the view's rows and statuses. */
class Scene {
  /**
   * @param {View} view
   * @param {Sprites} sprites
   * @param {number} perDay device pixels of a day
   * @param {number} perRow device pixels of a row; a whole number if it is 1 or more
   */
  constructor(view, sprites, perDay, perRow) {
    this.rows = view.rows;
    this.pyramid = view.pyramid;
    this.extent = view.extent;
    this.sprites = sprites;
    this.perDay = perDay;
    this.perRow = perRow;
  }

  isLike(other) {
    if (other === null || !isSame(this.extent, other.extent)) return false;
    return ["rows", "pyramid", "sprites", "perDay", "perRow"].every((name) => this[name] === other[name]);
  }

  /** The first pixel of a day. */
  pixelOf(day) {
    return Math.ceil(day * this.perDay);
  }

  /** The first day of a pixel, where a day is narrower than a pixel. */
  dayOf(pixel) {
    return Math.ceil(pixel / this.perDay);
  }

  /**
   * Paint a rectangle of the scene into pixels of 32 bits, which are empty before.
   *
   * @param {Uint32Array} pixels
   * @param {number} left the first column of the scene; pixels beyond `width` columns are cut off
   * @param {number} top
   */
  paint(pixels, left, top, width, height) {
    const edges = this.#edges(left, width);
    const { columns, days } = edges;
    const codes = new Uint8Array(columns.length - 1);
    const { perRow, rows } = this;
    const lastRow = Math.min(rows.length - 1, Math.ceil((top + height) / perRow) - 1);
    if (perRow >= 1) {
      for (let row = Math.max(0, Math.floor(top / perRow)); row <= lastRow; row++) {
        codes.fill(0);
        if (this.#collect(codes, days, rows[row])) this.#put(pixels, width, height, columns, codes, row * perRow - top);
      }
      return;
    }
    for (let line = 0; line < height; line++) {
      const from = Math.ceil((top + line) / perRow);
      const end = Math.min(rows.length, Math.ceil((top + line + 1) / perRow));
      codes.fill(0);
      let isAny = false;
      for (let row = from; row < end; row++) isAny = this.#collect(codes, days, rows[row]) || isAny;
      if (isAny) this.#put(pixels, width, height, columns, codes, line);
    }
  }

  /** Return where the columns of a stretch begin, in pixels and in days; the last ones are where they end. */
  #edges(left, width) {
    const columns = [];
    const days = [];
    if (this.perDay >= 1) {
      // One more at each end, so that no rounding leaves a pixel out.
      const first = Math.floor(left / this.perDay) - 1;
      const last = Math.ceil((left + width) / this.perDay) + 1;
      for (let day = first; day <= last; day++) {
        columns.push(this.pixelOf(day) - left);
        days.push(day);
      }
    } else {
      for (let column = 0; column <= width; column++) {
        columns.push(column);
        days.push(this.dayOf(left + column));
      }
    }
    return { columns, days };
  }

  /** Raise the codes of columns to the worst of a series; return whether it has any cell there. */
  #collect(codes, days, series) {
    const { pyramid, extent } = this;
    const first = Math.max(pyramid.first[series], extent.first);
    const end = Math.min(pyramid.end[series], extent.last + 1);
    const count = codes.length;
    if (first >= end || end <= days[0] || first >= days[count]) return false;
    let column = first <= days[0] ? 0 : columnOf(days, first);
    if (this.perDay >= 1) {
      const { numbers } = pyramid;
      const shift = pyramid.base[series] - pyramid.first[series];
      for (; column < count && days[column] < end; column++) {
        if (days[column] < first) continue;
        const code = numbers[shift + days[column]];
        if (code > codes[column]) codes[column] = code;
      }
      return true;
    }
    for (; column < count && days[column] < end; column++) {
      const code = pyramid.worst(series, Math.max(first, days[column]), Math.min(end, days[column + 1]));
      if (code > codes[column]) codes[column] = code;
    }
    return true;
  }

  /** Copy the sprites of a row to their places, line by line, since pixels lie so in memory. */
  #put(pixels, width, height, columns, codes, top) {
    const spriteHeight = Math.max(1, this.perRow);
    const placed = [];
    for (let place = 0; place < codes.length; place++) {
      if (!codes[place]) continue;
      const left = columns[place];
      const across = columns[place + 1] - left;
      const from = Math.max(0, -left);
      const end = Math.min(across, width - left);
      if (from >= end) continue;
      placed.push({ sprite: this.sprites.of(codes[place], across, spriteHeight), left, across, from, end });
    }
    const endLine = Math.min(spriteHeight, height - top);
    for (let line = Math.max(0, -top); line < endLine; line++) {
      const begin = (top + line) * width;
      for (const { sprite, left, across, from, end } of placed) {
        const source = line * across;
        const target = begin + left;
        for (let column = from; column < end; column++) pixels[target + column] = sprite[source + column];
      }
    }
  }
}

/** Return the column that holds a day, by halving. */
function columnOf(days, day) {
  let low = 0;
  let high = days.length - 1;
  while (low < high - 1) {
    const middle = (low + high) >> 1;
    if (days[middle] <= day) low = middle;
    else high = middle;
  }
  return low;
}
