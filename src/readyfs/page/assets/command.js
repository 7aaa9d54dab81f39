/** What is selected on the page, as `readyfs` commands that select the same. */

/**
 * @typedef {object} Command
 * @property {string} about  what it tells, for a heading
 * @property {string[]} lines  each a command; several where one cannot select just this
 */

const MOST_NAMED = 500;
const NEEDS_NO_QUOTES = /^[A-Za-z0-9_@%+=:,./-]+$/;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const PATTERN_CHARACTER = /[*?[\0]/;

/**
 * Return the commands for a selection; `problem` says why there is none.
 * @param {Coverage} coverage
 * @param {Selection} selection
 * @returns {{commands: Command[], problem: string}}
 */
function commandsOf(coverage, selection) {
  const count = selection.series.length;
  if (!count || selection.first > selection.last) return { commands: [], problem: "Nothing is selected." };
  const commands = [];
  if (count === 1 && selection.first === selection.last) {
    const why = commandWhy(coverage, coverage.series(selection.series[0]), selection.first);
    if (why) commands.push({ about: "Why it is so", lines: [why] });
  }
  const choices = chooseFilter(coverage, selection) ?? chooseNames(coverage, selection.series);
  if (typeof choices === "string") return { commands, problem: choices };
  const gaps = linesOfGaps(coverage, choices, selection);
  const problem = typeof gaps === "string" ? gaps : "";
  if (!problem) commands.push({ about: "Its gaps", lines: gaps });
  const dates = argumentsOfDates(coverage, selection, true);
  const ls = choices.map((choice) => ["readyfs", "ls", ...coverage.head.command, ...choice.words, ...dates]);
  commands.push({ about: "Its rows", lines: ls.map(quoteWords) });
  return { commands, problem };
}

/**
 * Return the command that tells why one date of a series is as it is; empty if no key can name it.
 * @param {Coverage} coverage
 * @param {Series} series
 * @param {number} day
 * @returns {string}
 */
function commandWhy(coverage, series, day) {
  if (!series.customer || !series.query) return "";
  const source = hasSources(coverage) ? ["--source", series.source] : [];
  if (hasSources(coverage) && (!series.source || series.source.includes("\0"))) return "";
  const key = `${escapeKeyPart(series.customer)}/${escapeKeyPart(series.query)}/${isoOf(day)}`;
  // A dot would begin a path, and a dash an option.
  const named = key.replace(/^[.-]/, (character) => escapeByte(character.charCodeAt(0)));
  return quoteWords(["readyfs", "why", named, ...coverage.head.command, ...source]);
}

/**
 * Return one part of a key; what cannot be seen is escaped there, so that a shell need not do it.
 * @param {string} name
 * @returns {string}
 */
function escapeKeyPart(name) {
  return [...name].map((one) => (/[/%]/.test(one) || UNPRINTABLE.test(one) ? escapeAll(one) : one)).join("");
}

/**
 * @param {string} text
 * @returns {string}
 */
function escapeAll(text) {
  return bytesOfName(text).map(escapeByte).join("");
}

/**
 * Return the filter of the page as options, if it selects just what is selected; else null. Where both the page and the
 * filter confine a part, no option can say so.
 *
 * @param {Coverage} coverage
 * @param {Selection} selection
 */
function chooseFilter(coverage, { series, filter }) {
  const own = coverage.head.selected;
  const parts = ["source", "customer", "query"];
  if (!filter || parts.some((part) => filter[part] && own[part].length)) return null;
  const words = parts.flatMap((part) => (filter[part] ? [`--${part}`, filter[part]] : own[part]));
  return [{ words, series }];
}

/**
 * Return lists of options that select just these series together; or in words why none can.
 * @param {Coverage} coverage
 * @param {ArrayLike<number>} selected
 * @returns {{words: string[], series: number[]}[] | string}
 */
function chooseNames(coverage, selected) {
  const own = coverage.head.selected;
  if (selected.length === coverage.count) {
    return [{ words: [...own.source, ...own.customer, ...own.query], series: Array.from(selected) }];
  }
  if (selected.length > MOST_NAMED) {
    return `These are ${selected.length} series, too many to name in a command. Select fewer of them.`;
  }
  const names = namesOf(coverage);
  const groups = groupSeries(Array.from(selected, (index) => ({ index, ...keyOf(coverage.series(index)) })));
  const choices = [];
  for (const group of groups) {
    const words = hasSources(coverage) ? [] : [...own.source];
    for (const part of hasSources(coverage) ? ["source", "customer", "query"] : ["customer", "query"]) {
      for (const name of group[part]) {
        if (!name) return `No command can select a series whose ${part} is empty.`;
        words.push(`--${part}`, patternOf(name, names[part]));
      }
    }
    choices.push({ words, series: group.series });
  }
  return choices;
}

/**
 * Group series so that each group is all combinations of its sources, customers and queries.
 * @param {{index: number, source: string, customer: string, query: string}[]} series
 */
function groupSeries(series) {
  const parts = series.map((one) => ({
    source: [one.source],
    customer: [one.customer],
    query: [one.query],
    series: [one.index],
  }));
  return ["query", "customer", "source"].reduce(joinGroups, parts);
}

/**
 * Join the groups that differ in one part alone.
 * @param {{source: string[], customer: string[], query: string[], series: number[]}[]} groups
 * @param {"source" | "customer" | "query"} part
 */
function joinGroups(groups, part) {
  const joined = new Map();
  for (const group of groups) {
    const others = JSON.stringify({ ...group, [part]: null, series: null });
    const before = joined.get(others);
    if (before) {
      before[part].push(...group[part]);
      before.series.push(...group.series);
    } else joined.set(others, group);
  }
  return [...joined.values()];
}

/**
 * Return the lines of `readyfs gaps`, or in words why there are none. A series that begins within the dates gets no
 * `--since`: the days before it would be expected, and missing.
 */
function linesOfGaps(coverage, choices, selection) {
  const begins = (index) => coverage.series(index).first >= selection.first;
  const lines = [];
  for (const withSince of [true, false]) {
    const some = choices.map((choice) => ({ ...choice, chosen: choice.series.filter((one) => begins(one) !== withSince) }));
    for (const { words, series, chosen } of some) {
      if (!chosen.length) continue;
      const parts = chosen.length === series.length ? [{ words }] : chooseNames(coverage, chosen);
      if (typeof parts === "string") return parts;
      const dates = argumentsOfDates(coverage, selection, withSince);
      const place = ["readyfs", "gaps", ...coverage.head.command, ...coverage.head.judged];
      lines.push(...parts.map((part) => quoteWords([...place, ...part.words, ...dates])));
    }
  }
  return lines;
}

/**
 * Return the options for the selected days; where these are all days, those that the page was made with.
 *
 * @param {Coverage} coverage
 * @param {Selection} selection
 * @param {boolean} withSince
 * @returns {string[]}
 */
function argumentsOfDates(coverage, selection, withSince) {
  const own = coverage.head.selected;
  return [
    ...(withSince && selection.first > coverage.first ? ["--since", isoOf(selection.first)] : own.since),
    ...(selection.last < coverage.last ? ["--until", isoOf(selection.last)] : own.until),
  ];
}

/**
 * Return the pattern of a filter that one name alone matches. A filter takes a pattern for a name as well, so that it
 * must be none of the names that there are.
 * @param {string} name
 * @param {Set<string>} names
 * @returns {string}
 */
function patternOf(name, names) {
  if (!PATTERN_CHARACTER.test(name)) return name;
  for (let times = 1; ; times += 1) {
    const pattern = Array.from(name, (one) => {
      // No argument can hold a NUL: it is what is none of the other characters.
      if (one === "\0") return `[!${"\u0001-\u{10ffff}".repeat(times)}]`;
      return "*?[".includes(one) ? `[${one.repeat(times)}]` : one;
    }).join("");
    if (!names.has(pattern)) return pattern;
  }
}

/**
 * @param {string[]} words
 * @returns {string}
 */
function quoteWords(words) {
  return words.map(quoteWord).join(" ");
}

/**
 * Return a word as bash reads it, in which nothing is hidden.
 * @param {string} word
 * @returns {string}
 */
function quoteWord(word) {
  if (NEEDS_NO_QUOTES.test(word)) return word;
  if (!UNPRINTABLE.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const inner = Array.from(word, (one) => {
    if (one === "'" || one === "\\") return `\\${one}`;
    return UNPRINTABLE.test(one) ? bytesOfName(one).map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("") : one;
  });
  return `$'${inner.join("")}'`;
}

/**
 * @param {Series} series
 */
function keyOf({ source, customer, query }) {
  return { source, customer, query };
}
