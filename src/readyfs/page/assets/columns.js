/** Columns of the block, which stay as they are packed: integers, and run ids. */

const NULL_INTEGER = -(1n << 63n);

/** A column of 64 bit integers, stored as planes of bytes; a plane of one value is told by that value. */
class IntegerColumn {
  /**
   * @param {Uint8Array} bytes  the planes that vary, one after the other
   * @param {(number|null)[]} planes  from the lowest byte on, null for one that varies
   */
  constructor(bytes, planes) {
    const varying = planes.filter((plane) => plane === null).length;
    const length = varying ? bytes.length / varying : 0;
    this.constant = 0n;
    this.planes = [];
    planes.forEach((plane, place) => {
      if (plane === null) {
        const begin = this.planes.length * length;
        this.planes.push({place, bytes: bytes.subarray(begin, begin + length)});
      } else {
        this.constant += BigInt(plane) << BigInt(8 * place);
      }
    });
  }

  /** Returns the value of a row. @param {number} row @returns {bigint} */
  at(row) {
    let value = this.constant;
    for (const {place, bytes} of this.planes) {
      value += BigInt(bytes[row]) << BigInt(8 * place);
    }
    return BigInt.asIntN(64, value);
  }

  /** Returns the value of a row as a number, null for none. @param {number} row @returns {number|null} */
  numberAt(row) {
    const value = this.at(row);
    return value === NULL_INTEGER ? null : Number(value);
  }

  /** Returns all values as numbers: NaN for none. @param {number} rows @returns {Float64Array} */
  numbers(rows) {
    const high = this.planes.some(({place}) => place > 5) || BigInt.asIntN(64, this.constant) === NULL_INTEGER;
    const found = new Float64Array(rows);
    if (high) {
      for (let row = 0; row < rows; row++) {
        found[row] = this.numberAt(row) ?? NaN;
      }
      return found;
    }
    found.fill(Number(BigInt.asIntN(64, this.constant)));
    for (const {place, bytes} of this.planes) {
      const factor = 256 ** place;
      for (let row = 0; row < rows; row++) {
        found[row] += bytes[row] * factor;
      }
    }
    return found;
  }
}

/** The run ids of rows: texts of one length are stored together, character by character. */
class RunColumn {
  /**
   * @param {IntegerColumn} lengths
   * @param {number} rows
   * @param {function(number): Uint8Array} textsOf  gives the texts of a length
   */
  constructor(lengths, rows, textsOf) {
    this.lengths = Uint32Array.from(lengths.numbers(rows));
    this.textsOf = textsOf;
    // Which of the texts of its length that of a row is.
    this.places = new Uint32Array(rows);
    this.counts = new Uint32Array(1 + this.lengths.reduce((most, length) => Math.max(most, length), 0));
    for (let row = 0; row < rows; row++) {
      this.places[row] = this.counts[this.lengths[row]]++;
    }
  }

  /** Returns the run of a row, null for none. @param {number} row @returns {string|null} */
  at(row) {
    const length = this.lengths[row];
    if (!length) {
      return null;
    }
    const texts = this.textsOf(length);
    const count = this.counts[length];
    const found = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      found[i] = texts[i * count + this.places[row]];
    }
    return new TextDecoder().decode(found);
  }
}
