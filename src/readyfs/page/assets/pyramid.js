/**
 * The worst cell below any stretch of dates, quickly.
 *
 * Codes of cells grow with how bad they are, so that the worst of many is the greatest. Over each series lie levels: one
 * number of a level is the worst of two of the level below. Blocks are aligned to days, not to the begin of a series, so
 * that all series have the same ones.
 */

/** Added to days, so that none is below 0: halves of numbers on both sides of 0 never would meet. */
const DAYS_BEFORE = 1 << 20;

class Pyramid {
  /**
   * @param coverage what `readCoverage` found
   * @param {boolean[]} shown for each code whether it is shown; one that is not counts as nothing
   */
  constructor(coverage, shown) {
    const count = coverage.count;
    /** The first day of each series, and the day after its last. */
    this.first = new Int32Array(count);
    this.end = new Int32Array(count);
    /** Where the numbers of each series begin. */
    this.base = new Int32Array(count);
    const codes = new Array(count);
    let size = 0;
    for (let index = 0; index < count; index++) {
      const series = coverage.series(index);
      codes[index] = series.codes;
      this.first[index] = series.first;
      this.end[index] = series.first + series.codes.length;
      this.base[index] = size;
      size += sizeOfLevels(series.first + DAYS_BEFORE, series.codes.length);
    }
    this.numbers = new Uint8Array(size);
    const rank = Uint8Array.from(shown, (isShown, code) => (isShown ? code : 0));
    // Codes that all are shown are copied as they are.
    const isAll = rank.every((number, code) => number === code);
    for (let index = 0; index < count; index++) {
      if (isAll) this.numbers.set(codes[index], this.base[index]);
      else fillLowest(this.numbers, this.base[index], codes[index], rank);
      fillLevels(this.numbers, this.base[index], this.first[index] + DAYS_BEFORE, codes[index].length);
    }
  }

  /** Return the worst of a series from a day up to before another one, 0 where nothing is. */
  worst(index, from, end) {
    let low = Math.max(from, this.first[index]) + DAYS_BEFORE;
    let high = Math.min(end, this.end[index]) + DAYS_BEFORE;
    const { numbers } = this;
    let worst = 0;
    let offset = this.base[index];
    let first = this.first[index] + DAYS_BEFORE;
    let last = this.end[index] - 1 + DAYS_BEFORE;
    while (low < high) {
      if (low & 1) worst = Math.max(worst, numbers[offset + low++ - first]);
      if (high & 1) worst = Math.max(worst, numbers[offset + --high - first]);
      offset += last - first + 1;
      low >>= 1;
      high >>= 1;
      first >>= 1;
      last >>= 1;
    }
    return worst;
  }
}

function fillLowest(numbers, base, codes, rank) {
  for (let place = 0; place < codes.length; place++) numbers[base + place] = rank[codes[place]];
}

/** Fill all levels above the lowest one, which begins at `base` and has `length` days from `first` on. */
function fillLevels(numbers, base, first, length) {
  let below = base;
  let last = first + length - 1;
  while (last > first) {
    const above = below + last - first + 1;
    const firstAbove = first >> 1;
    for (let day = first; day <= last; day++) {
      const code = numbers[below + day - first];
      const place = above + (day >> 1) - firstAbove;
      if (code > numbers[place]) numbers[place] = code;
    }
    below = above;
    first = firstAbove;
    last >>= 1;
  }
}

/** Return how many numbers a series has on all levels. */
function sizeOfLevels(first, length) {
  if (!length) return 0;
  let last = first + length - 1;
  let size = length;
  while (last > first) {
    first >>= 1;
    last >>= 1;
    size += last - first + 1;
  }
  return size;
}
