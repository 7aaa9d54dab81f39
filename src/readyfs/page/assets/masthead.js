/** The head of the page: of which state it is, when it was made and by which agreement; then the totals as `gaps` has them. */

function startMasthead({ coverage }) {
  const { head } = coverage;
  document.getElementById("label").textContent = head.label;
  document.title = `Coverage of ${head.label}`;
  const when = `made ${showMoment(head.madeAt)}`;
  const parts = [when, head.cadence ? `${head.cadence} dates` : "", head.criteria, zoneWords(head), head.filters];
  document.getElementById("made").textContent = parts.filter(Boolean).join(" · ");
  document.getElementById("totals").hidden = true;
  const tiles = document.getElementById("tiles");
  tiles.hidden = false;
  for (const { value, words, kind } of tilesOf(head.totals)) {
    const tile = tiles.appendChild(made("div", `tile ${kind}`));
    tile.appendChild(document.createElement("b")).textContent = value;
    tile.appendChild(document.createElement("span")).textContent = words;
  }
}

function zoneWords({ dayZone }) {
  return dayZone === "UTC" ? "" : `dates end in ${dayZone}`;
}

/** Return what is told in large figures; what is not there is left out, except for what everybody looks for. */
function tilesOf(totals) {
  const many = (count) => count.toLocaleString("en");
  const dates = (count, word) => `${count === 1 ? "date" : "dates"} ${word}`;
  return [
    {
      value: totals.complete === null ? "–" : shareWords(totals.complete),
      words: `ready: ${many(totals.ready_dates)} of ${many(totals.expected_dates)} dates`,
      kind: "",
    },
    { value: many(totals.late_series), words: `late of ${many(totals.series)} series`, kind: "" },
    { value: many(totals.error_dates), words: dates(totals.error_dates, "crit"), kind: totals.error_dates ? "bad" : "" },
    { value: many(totals.warn_dates), words: dates(totals.warn_dates, "warn"), kind: totals.warn_dates ? "warned" : "" },
    { value: many(totals.waiting_dates), words: "waiting", kind: "" },
    { value: many(totals.known_dates), words: "known", kind: totals.known_dates ? "" : "none" },
    { value: many(totals.guessed_dates), words: "guessed", kind: totals.guessed_dates ? "" : "none" },
  ].filter(({ kind }) => kind !== "none");
}

/** Write a share as `gaps` does: less than all never is rounded to all. */
function shareWords(share) {
  return share === 1 ? "100%" : `${(Math.floor(share * 1000) / 10).toFixed(1)}%`;
}
