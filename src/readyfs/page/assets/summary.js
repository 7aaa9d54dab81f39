/** The summary below the picture: what `readyfs gaps` says of the series that are shown, and the late ones as a table. */

/** Rows of the table at first, and how many more a press of the button adds. */
const SUMMARY_ROWS = 50;

/** Milliseconds without a change after which the summary follows. */
const SUMMARY_MS = 120;

/** The columns of the table: how a cell is told, by what it is sorted, and whether the greatest come first. */
const SUMMARY_COLUMNS = [
  { title: "Series", by: ({ place }) => place },
  { title: "First late", say: ({ series }) => sayDay(series.firstLate), by: ({ series }) => series.firstLate },
  { title: "Crit", say: ({ series }) => series.error, by: ({ series }) => series.error, isNumber: true, isDown: true },
  { title: "Warn", say: ({ series }) => series.warn, by: ({ series }) => series.warn, isNumber: true, isDown: true },
  {
    title: "Complete",
    say: ({ series }) => shareWords(shareOf(series)),
    by: ({ series }) => shareOf(series) ?? 1,
    isNumber: true,
  },
  { title: "Newest", say: ({ series }) => sayDay(series.newest), by: ({ series }) => series.newest ?? -Infinity },
];

class Summary {
  #body = document.getElementById("summary-body");
  #title = document.getElementById("summary-title");
  #line = element("p", "", "sum");
  #holder = document.createElement("div");
  #timer = 0;
  #sort = 2;
  #isTurned = false;
  #most = SUMMARY_ROWS;
  /** @type {{index: number, place: number, series: Series}[]} */
  #late = [];

  /** @param {{coverage: Coverage, view: View, grid: Grid, places: PlaceKeeper}} page */
  constructor(page) {
    this.page = page;
    this.#holder.className = "table-holder";
    this.#body.append(this.#line, this.#holder);
    document.getElementById("summary").hidden = false;
    page.view.subscribe((changed) => {
      if (!["rows", "anchor"].some((name) => changed.has(name)) && !(changed.has("cursor") && page.view.anchor)) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#count(), SUMMARY_MS);
    });
    this.#count();
  }

  /** Count anew what is selected if several series are, else what is shown. */
  #count() {
    const { coverage, view } = this.page;
    const isSelection = view.anchor !== null && view.cursor !== null && view.anchor.row !== view.cursor.row;
    const chosen = isSelection ? selectionOf(view).series : view.rows;
    const tally = tallyOf(coverage, chosen);
    this.#title.textContent = isSelection ? "Late series among the selected" : "Late series";
    const which = isSelection ? "Selected" : chosen.length === coverage.count ? "All" : "Shown";
    const sum = chosen.length ? `${which}, over all dates: ${sumUp(tally)}.` : sayNothing(coverage);
    this.#line.textContent = sum;
    this.#late = [];
    for (let place = 0; place < chosen.length; place++) {
      const series = coverage.series(chosen[place]);
      if (series.warn + series.error) this.#late.push({ index: chosen[place], place, series });
    }
    this.#most = SUMMARY_ROWS;
    this.#draw();
  }

  #draw() {
    if (!this.#late.length) {
      this.#holder.replaceChildren();
      return;
    }
    const sorted = this.#sorted();
    const table = document.createElement("table");
    table.append(element("caption", `${sayCount(this.#late.length, "late row")}`, "for-readers"), this.#head());
    const body = table.appendChild(document.createElement("tbody"));
    for (const late of sorted.slice(0, this.#most)) body.append(this.#row(late));
    this.#holder.replaceChildren(table);
    if (sorted.length > this.#most) this.#holder.append(this.#more(sorted.length));
  }

  /** Whether the greatest come first. */
  get #goesDown() {
    return Boolean(SUMMARY_COLUMNS[this.#sort].isDown) !== this.#isTurned;
  }

  /** Return the late series by the chosen column, and of those that are alike there the worst first. */
  #sorted() {
    const direction = this.#goesDown ? -1 : 1;
    const { by } = SUMMARY_COLUMNS[this.#sort];
    const keys = (late) => [by(late), -late.series.error, -late.series.warn, late.series.firstLate, late.place];
    const ranked = this.#late.map((late) => ({ late, keys: keys(late) }));
    ranked.sort((one, other) => {
      const [first] = one.keys;
      if (first !== other.keys[0]) return (first < other.keys[0] ? -1 : 1) * direction;
      return compare(one.keys, other.keys);
    });
    return ranked.map(({ late }) => late);
  }

  #head() {
    const head = document.createElement("thead");
    const row = head.appendChild(document.createElement("tr"));
    SUMMARY_COLUMNS.forEach(({ title, isNumber }, at) => {
      const cell = element("th", "", isNumber ? "number" : "");
      cell.scope = "col";
      const button = element("button", title, "quiet");
      button.type = "button";
      if (at === this.#sort) cell.setAttribute("aria-sort", this.#goesDown ? "descending" : "ascending");
      button.addEventListener("click", () => {
        this.#isTurned = at === this.#sort && !this.#isTurned;
        this.#sort = at;
        this.#draw();
        this.#holder.querySelectorAll("th button")[at].focus();
      });
      cell.append(button);
      row.append(cell);
    });
    return head;
  }

  #row(late) {
    const row = document.createElement("tr");
    const name = row.appendChild(element("th", ""));
    name.scope = "row";
    const button = name.appendChild(element("button", nameOfSeries(this.page.coverage, late.series), "link"));
    button.type = "button";
    button.addEventListener("click", () => this.#goTo(late));
    for (const { say, isNumber } of SUMMARY_COLUMNS.slice(1)) {
      row.append(element("td", String(say(late)), isNumber ? "number" : ""));
    }
    return row;
  }

  /** Lead to the first late date of a series. */
  #goTo({ index, series }) {
    const { view, grid, places } = this.page;
    const row = view.rows.indexOf(index);
    if (row < 0) return;
    places.leave();
    grid.goTo({ row, day: series.firstLate });
    document.getElementById("picture").scrollIntoView({ block: "nearest" });
    grid.focus();
  }

  #more(count) {
    const button = element("button", `Show more of ${count}`);
    button.type = "button";
    button.addEventListener("click", () => {
      const before = this.#most;
      this.#most += SUMMARY_ROWS;
      this.#draw();
      this.#holder.querySelectorAll("tbody button")[before].focus();
    });
    return button;
  }
}

/** Count series as `gaps` does. */
function tallyOf(coverage, chosen) {
  const tally = {
    series: 0, expectingSeries: 0, completeSeries: 0, lateSeries: 0, waitingSeries: 0,
    expected: 0, ready: 0, waiting: 0, warn: 0, error: 0, known: 0, guessed: 0,
  };
  for (const index of chosen) {
    const series = coverage.series(index);
    const late = series.warn + series.error;
    const isComplete = series.ready === series.expected && late + series.known + series.guessed === 0;
    tally.series++;
    if (series.expected) tally.expectingSeries++;
    if (series.expected && isComplete) tally.completeSeries++;
    if (late) tally.lateSeries++;
    if (series.waiting) tally.waitingSeries++;
    for (const name of ["expected", "ready", "waiting", "warn", "error", "known", "guessed"]) tally[name] += series[name];
  }
  return tally;
}

/** Return one line on all series, in the words of `gaps`. */
function sumUp(tally) {
  const late = tally.warn + tally.error;
  const parts = ["nothing is late"];
  if (late) {
    parts[0] = `${sayCount(late, "date")} of ${tally.lateSeries} series late (${tally.error} crit, ${tally.warn} warn)`;
  }
  if (tally.waiting) {
    const are = tally.waiting === 1 ? "is" : "are";
    parts.push(`${sayCount(tally.waiting, "date")} of ${tally.waitingSeries} series ${are} not ready and not late yet`);
  }
  if (tally.expectingSeries) parts.push(`${tally.completeSeries} of ${tally.expectingSeries} series complete`);
  if (tally.expected) parts.push(`${shareWords(shareOf(tally))} of the expected dates ready`);
  if (tally.known) parts.push(`${sayCount(tally.known, "known date")} left aside`);
  if (tally.guessed) parts.push(`${sayCount(tally.guessed, "date")} missing by a guess`);
  return parts.join("; ");
}

/** Return the share of the expected dates that is ready, null if none is expected. */
function shareOf({ expected, ready }) {
  return expected ? ready / expected : null;
}

function sayDay(day) {
  return day === null ? "-" : isoOf(day);
}

function startSummary(page) {
  page.summary = new Summary(page);
}
