/** Keeps the address of the page and its view together. */

/** Milliseconds without a change after which the address follows; browsers refuse many changes in a row. */
const ADDRESS_MS = 300;

/** How many wrong parts of an address are named, and how many characters of each. */
const MOST_PROBLEMS = 3;
const LONGEST_PROBLEM = 80;

class PlaceKeeper {
  #initial;
  #timer = 0;
  #isJump = false;

  /** @param {Coverage} coverage @param {View} view */
  constructor(coverage, view) {
    this.coverage = coverage;
    this.view = view;
    this.#initial = this.spot();
    view.subscribe((changed) => this.#follow(changed));
    window.addEventListener("hashchange", () => this.#go());
    if (location.hash.length > 1) this.#go();
  }

  /** Keep the present place for the button that leads back; the next change is a new one. */
  leave() {
    this.#write();
    this.#isJump = true;
  }

  /** Return the present place. @returns {Spot} */
  spot() {
    const { view } = this;
    const top = Math.round(view.y.start);
    return {
      days: this.#daysInSight(),
      height: view.y.height === view.usualRow ? null : view.y.height,
      top: top > 0 && top < view.rows.length ? this.#nameOf(top) : null,
      cursor: view.cursor && { name: this.#nameOf(view.cursor.row), day: view.cursor.day },
      filter: view.filter,
      sort: view.sort,
    };
  }

  /** Return the days from edge to edge, as `zoomTo` takes them; null where all are in sight. */
  #daysInSight() {
    const { extent, inSight } = this.view;
    const isAll = inSight.first === extent.first && inSight.last === extent.last;
    return isAll || inSight.last < inSight.first ? null : inSight;
  }

  #nameOf(row) {
    return keyOf(this.coverage.series(this.view.rows[row]));
  }

  #follow(changed) {
    if (changed.has("filter") || changed.has("sort")) this.#isJump = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), ADDRESS_MS);
  }

  /** Write the present place into the address. */
  #write() {
    clearTimeout(this.#timer);
    const text = writeAddress(this.spot());
    const isFirst = text === writeAddress(this.#initial) && location.hash.length <= 1;
    if (isFirst || `#${text}` === location.hash) return;
    const change = this.#isJump ? history.pushState : history.replaceState;
    this.#isJump = false;
    change.call(history, null, "", `#${text}`);
  }

  /** Go to the place that the address names. */
  #go() {
    const text = location.hash.slice(1);
    const { spot, problems } = text ? readAddress(text) : { spot: this.#initial, problems: [] };
    clearTimeout(this.#timer);
    this.#isJump = false;
    this.#show(spot, problems);
    showNotice(problems.length ? `The address names what is not on this page: ${sayProblems(problems)}` : "");
  }

  #show(spot, problems) {
    const { view } = this;
    view.set({ filter: spot.filter, sort: spot.sort, cursor: null });
    if (spot.days) view.zoomTo(spot.days);
    else view.zoomToAll();
    view.set({ y: { start: 0, height: spot.height ?? view.usualRow } });
    const top = spot.top && this.#rowOf(spot.top);
    if (top !== null) view.set({ y: { start: top } });
    if (!spot.cursor) return;
    const row = this.#rowOf(spot.cursor.name);
    if (row === null) problems.push(`cursor=${writeSeries(spot.cursor.name)}`);
    else view.set({ cursor: { row, day: spot.cursor.day } });
  }

  #rowOf({ source, customer, query }) {
    const row = this.view.rows.findIndex((index) => {
      const series = this.coverage.series(index);
      return series.customer === customer && series.query === query && series.source === source;
    });
    return row < 0 ? null : row;
  }
}

/** Name parts of an address that cannot be shown; an address may have any number of them, of any length. */
function sayProblems(problems) {
  const named = problems.slice(0, MOST_PROBLEMS).map((one) => (
    one.length > LONGEST_PROBLEM ? `${one.slice(0, LONGEST_PROBLEM)}…` : one
  ));
  const more = problems.length - named.length;
  return named.join(", ") + (more ? ` and ${more} more` : "");
}

/** Tell something above the picture; an empty text takes it away. */
function showNotice(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = !text;
}

function startPlace(page) {
  page.places = new PlaceKeeper(page.coverage, page.view);
  // Its fragment would take the place of the one that names what is shown.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("picture").focus();
  });
}
