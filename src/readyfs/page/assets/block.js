// The data of the page: unpacks the block that readyfs wrote, and answers what is there of each series and date.
// Columns stay as they are packed; a row is put together when it is asked for.

const BLOCK_VERSION = 1;
const NOT_SET = -1n;

/**
 * What one code of a cell stands for.
 * @typedef {{status: string|null, level: string|null, expected: boolean, letter: string, words: string}} Cell
 */

/**
 * One series. Days are counted from 1970-01-01.
 * @typedef {{
 *   source: string, customer: string, query: string,
 *   shown: {source: string, customer: string, query: string},
 *   first: number, codes: Uint8Array,
 *   expected: number, ready: number, waiting: number, warn: number, error: number, known: number, guessed: number,
 *   newest: number|null, firstLate: number|null, newestUpdate: number|null,
 *   cadence: string|null, guessedCadence: boolean,
 * }} Series
 */

/**
 * What is told of one date.
 * @typedef {{
 *   cell: Cell, run: string|null, records: number|bigint|null, updated: number|null, attempts: number|null,
 *   sentence: string, remedy: string, knownReason: string|null,
 * }} Detail
 */

/**
 * Unpacks the data of an element.
 * @param {Element} element
 * @returns {Promise<Coverage>}
 */
async function readCoverage(element) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser is too old to unpack the data: it has no DecompressionStream.");
  }
  const packed = decodeBase64(element.textContent.trim());
  element.textContent = "";
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const coverage = new Coverage(new Uint8Array(await new Response(stream).arrayBuffer()));
  if (typeof requestIdleCallback === "function") requestIdleCallback(() => coverage.prepare());
  return coverage;
}

/**
 * @param {string} text
 * @returns {Uint8Array}
 */
function decodeBase64(text) {
  if (typeof Uint8Array.fromBase64 === "function") {
    return Uint8Array.fromBase64(text);
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = binary.charCodeAt(i);
  }
  return bytes;
}

/** All that the page knows. */
class Coverage {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    const decoder = new TextDecoder();
    const length = Number(decoder.decode(bytes.subarray(0, 8)));
    const description = JSON.parse(decoder.decode(bytes.subarray(8, 8 + length)));
    if (description.version !== BLOCK_VERSION) {
      throw new Error(`The data is of version ${description.version}, and this page reads ${BLOCK_VERSION}.`);
    }
    /** @type {Object} */
    this.head = {version: description.version, ...description.head};
    /** @type {Cell[]} */
    this.cells = description.cells;
    this._words = description.words;
    this._cadences = description.cadences;
    this._columns = description.columns;
    this._sections = new Map();
    let begin = 8 + length;
    for (const [name, size] of Object.entries(description.sections)) {
      this._sections.set(name, bytes.subarray(begin, begin + size));
      begin += size;
    }
    const names = JSON.parse(decoder.decode(this._sections.get("names")));
    this._names = names.map((some) => some.map(readName));
    this._codes = this._sections.get("cells");
    this._lazy = new Map();
    this._readSeries(description.count);
  }

  /** Returns a series. @param {number} i @returns {Series} */
  series(i) {
    const of = this._series;
    const [source, customer, query] = ["source", "customer", "query"].map((name, n) => this._names[n][of[name][i]]);
    return {
      source: source.raw,
      customer: customer.raw,
      query: query.raw,
      shown: {source: source.shown, customer: customer.shown, query: query.shown},
      first: of.first[i],
      codes: this._codes.subarray(this._begins[i], this._begins[i + 1]),
      expected: of.expected[i],
      ready: of.ready[i],
      waiting: of.waiting[i],
      warn: of.warn[i],
      error: of.error[i],
      known: of.known[i],
      guessed: of.guessed[i],
      newest: orNull(of.newest[i]),
      firstLate: orNull(of.firstLate[i]),
      newestUpdate: orNull(of.newestUpdate[i]),
      cadence: this._cadences[of.cadence[i]],
      guessedCadence: of.guessedCadence[i] === 1,
    };
  }

  /** Returns what is told of a date of a series. @param {number} i @param {number} day @returns {Detail} */
  detail(i, day) {
    const offset = day - this._series.first[i];
    const begin = this._begins[i];
    const isInside = offset >= 0 && offset < this._begins[i + 1] - begin;
    const code = isInside ? this._codes[begin + offset] : 0;
    const cell = this.cells[code];
    const detail = {
      cell, run: null, records: null, updated: null, attempts: null, sentence: "", remedy: "", knownReason: null,
    };
    const kind = this._kindOf[code];
    let form = this._words.missing;
    let row = -1;
    if (kind === READY_ROW) {
      form = this._words.readyForm;
      row = this._rowOf(i, offset, kind);
      this._fillRow(detail, "ready", row, day);
    } else if (kind === OTHER_ROW) {
      row = this._rowOf(i, offset, kind);
      this._fillRow(detail, "other", row, day);
      form = this._column("other.form").numberAt(row);
      detail.attempts = asNumber(this._column("other.attempts").at(row));
    }
    if (cell.level === "known") {
      const place = this._rowOf(i, offset, KNOWN_ROW);
      detail.knownReason = this._texts()[this._column("known.reason").numberAt(place)];
    }
    detail.sentence = this._sentence(form, i, day, detail, kind === OTHER_ROW ? row : -1);
    detail.remedy = this._words.remedies[form];
    return detail;
  }

  /** Counts rows ahead, so that nobody waits for it who points at the first date. */
  prepare() {
    this._runs("ready");
    this._runs("other");
  }

  _readSeries(count) {
    /** How many series there are. */
    this.count = count;
    this._series = {};
    for (const name of Object.keys(this._columns)) {
      if (name.startsWith("series.")) {
        this._series[name.slice("series.".length)] = this._column(name).numbers(count);
      }
    }
    /** The place of each series in the order of names. */
    this.places = this._series.place;
    this._kindOf = this.cells.map(kindOf);
    this._begins = new Float64Array(count + 1);
    let first = Infinity;
    let last = -Infinity;
    for (let i = 0; i < count; i++) {
      const cells = this._series.cells[i];
      this._begins[i + 1] = this._begins[i] + cells;
      if (cells) {
        first = Math.min(first, this._series.first[i]);
        last = Math.max(last, this._series.first[i] + cells - 1);
      }
    }
    /** The first and the last day of all series; the last is before the first where there is none. */
    this.first = last < first ? 0 : first;
    this.last = last < first ? -1 : last;
  }

  /** Returns how many cells with a row of a kind stand before a cell: the number of its row. */
  _rowOf(i, offset, kind) {
    let row = this._rowsBefore(kind)[i];
    const begin = this._begins[i];
    for (let place = begin; place < begin + offset; place++) {
      row += this._has(this._codes[place], kind) ? 1 : 0;
    }
    return row;
  }

  /** Returns for each series how many cells with a row of a kind stand before it. */
  _rowsBefore(kind) {
    return this._once(`rows.${kind}`, () => this._countRows(kind));
  }

  _countRows(kind) {
    const has = Uint8Array.from(this.cells, (_, code) => (this._has(code, kind) ? 1 : 0));
    const counts = new Float64Array(this.count + 1);
    for (let i = 0; i < this.count; i++) {
      let count = counts[i];
      for (let place = this._begins[i]; place < this._begins[i + 1]; place++) {
        count += has[this._codes[place]];
      }
      counts[i + 1] = count;
    }
    return counts;
  }

  _has(code, kind) {
    return kind === KNOWN_ROW ? this.cells[code].level === "known" : this._kindOf[code] === kind;
  }

  _runs(table) {
    return this._once(`${table}.run`, () => {
      const rows = this._rowsBefore(table === "ready" ? READY_ROW : OTHER_ROW)[this.count];
      return new RunColumn(this._column(`${table}.run.length`), rows, (length) =>
        this._sections.get(`${table}.run.${length}`),
      );
    });
  }

  _fillRow(detail, table, row, day) {
    detail.run = this._runs(table).at(row);
    detail.records = asNumber(this._column(`${table}.records`).at(row));
    const since = this._column(`${table}.updated`).numberAt(row);
    detail.updated = since === null ? null : (day + 1) * DAY_MS + since * 1000;
  }

  _sentence(form, i, day, detail, other) {
    const words = this._words;
    const said = other < 0 ? -1 : this._column("other.said").numberAt(other);
    const text = said < 0 ? "" : this._texts()[said];
    const places = {
      asked: () => this.key(i, day),
      run: () => detail.run ?? words.noRun,
      since: () => (detail.updated === null ? words.noTime : showMoment(detail.updated)),
      records: () => countWords(words.counted.records, detail.records),
      attempts: () => countWords(words.counted.attempts, detail.attempts),
      message: () => (text ? words.message.replace("{message}", () => text) : ""),
      word: () => this._texts()[this._column("other.word").numberAt(other)],
      said: () => text.replaceAll(words.datePlace, isoOf(day)),
    };
    return words.forms[form].replace(/\{(\w+)\}/g, (_, name) => places[name]());
  }

  /** Returns the key of a date of a series, as `readyfs why` is asked for it. @param {number} i @param {number} day */
  key(i, day) {
    const customer = this._names[1][this._series.customer[i]];
    const query = this._names[2][this._series.query[i]];
    return `${customer.key}/${query.key}/${isoOf(day)}`;
  }

  _column(name) {
    return this._once(name, () => new IntegerColumn(this._sections.get(name), this._columns[name]));
  }

  _texts() {
    return this._once("texts", () => JSON.parse(new TextDecoder().decode(this._sections.get("texts"))));
  }

  _once(name, make) {
    if (!this._lazy.has(name)) {
      this._lazy.set(name, make());
    }
    return this._lazy.get(name);
  }
}

const NO_ROW = 0;
const READY_ROW = 1;
const OTHER_ROW = 2;
const KNOWN_ROW = 3;

/** Returns which table has the row of a cell. @param {Cell} cell */
function kindOf(cell) {
  if (cell.status === null || cell.status === "missing") {
    return NO_ROW;
  }
  return cell.status === "ready" ? READY_ROW : OTHER_ROW;
}

function readName(name) {
  return typeof name === "string" ? {raw: name, shown: name, key: name} : {raw: name[0], shown: name[1], key: name[2]};
}

function orNull(value) {
  return Number.isNaN(value) ? null : value;
}

/** Returns a count, null for none; one that no number holds exactly stays as it is. @param {bigint} value */
function asNumber(value) {
  if (value === NOT_SET) {
    return null;
  }
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

function countWords([one, several], count) {
  if (count === null) {
    return "";
  }
  return (String(count) === "1" ? one : several).replace("{count}", manyWords(count));
}

/** Writes a count with a comma for each thousand; the browser's own way takes long to begin. */
function manyWords(count) {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Returns a time for people, in UTC. @param {number} ms @returns {string} */
function showMoment(ms) {
  const text = new Date(ms).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 19)}Z`;
}
