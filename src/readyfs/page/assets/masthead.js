/** The head of the page: of which state it is, when it was made, by which agreement; then the totals of `gaps`. */

function startMasthead({ coverage }) {
  const { head } = coverage;
  document.getElementById("label").textContent = head.label;
  document.title = `Coverage of ${head.label}`;
  // Somebody who opens it each morning should see that it was not made again.
  const age = Date.now() - head.madeAt;
  const when = `made ${showMoment(head.madeAt)}${age >= DAY_MS ? `, ${sayAge(age)} ago` : ""}`;
  const cadence = head.cadence ? `${head.cadence} dates` : "cadence guessed for each series";
  const parts = [when, cadence, head.criteria, zoneWords(head), head.filters, ...head.leftOut];
  document.getElementById("made").textContent = parts.filter(Boolean).join(" · ");
  document.getElementById("totals").hidden = true;
  const tiles = document.getElementById("tiles");
  tiles.hidden = false;
  for (const { value, words, level } of tilesOf(head.totals)) {
    const tile = tiles.appendChild(element("p", "", "tile"));
    if (level) tile.appendChild(element("i", "", `key ${level}`));
    if (value) tile.append(element("b", value));
    tile.append(element("span", words));
  }
}

function zoneWords({ dayZone }) {
  return dayZone === "UTC" ? "" : `dates end in ${dayZone}`;
}

/**
 * Return what is told in large figures. Those of a level have its colour beside them: they are the key of the colours.
 *
 * A level that does not occur is left out, except for what everybody looks for.
 */
function tilesOf(totals) {
  const dates = (count, word) => `${count === 1 ? "date" : "dates"} ${word}`;
  const levels = [
    { level: "error", count: totals.error_dates, words: dates(totals.error_dates, "crit"), isAlways: true },
    { level: "warn", count: totals.warn_dates, words: dates(totals.warn_dates, "warn"), isAlways: true },
    { level: "waiting", count: totals.waiting_dates, words: "waiting", isAlways: false },
    { level: "known", count: totals.known_dates, words: "known", isAlways: false },
    { level: "guessed", count: totals.guessed_dates, words: "guessed", isAlways: false },
  ];
  return [
    {
      value: shareWords(totals.complete),
      words: `ready: ${manyWords(totals.ready_dates)} of ${manyWords(totals.expected_dates)} dates`,
      level: "ready",
    },
    { value: manyWords(totals.late_series), words: `late of ${manyWords(totals.series)} series`, level: null },
    ...levels
      .filter(({ count, isAlways }) => count || isAlways)
      .map(({ level, count, words }) => ({ level, value: manyWords(count), words })),
    { value: "", words: "not judged", level: "outside" },
  ];
}

/** Write a share as `gaps` does: less than all never is rounded to all. */
function shareWords(share) {
  if (share === null) return "-";
  return share === 1 ? "100%" : `${(Math.floor(share * 1000) / 10).toFixed(1)}%`;
}
