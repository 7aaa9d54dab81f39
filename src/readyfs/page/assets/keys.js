/** The keys of the page, and the panel that lists them. */

const KEYS_OF_GRID = [
  ["← →", "the date before and after, by the unit of the zoom"],
  ["↑ ↓", "the series above and below"],
  ["Home, End", "the first and the last date"],
  ["Ctrl+Home, Ctrl+End", "the first date of the first series, the last of the last"],
  ["Page up, Page down", "as many series as are in sight"],
  ["Shift and one of these", "select from here to there"],
  ["Enter", "tell more of the date, and tell it no more"],
  ["Esc", "close what is told, then select nothing"],
];

/** The keys that are not of the grid alone: each with its words and what it does. */
function keysOf({ view, grid, commands, tooltip, shortcuts }) {
  const click = (id) => document.getElementById(id).click();
  return [
    { key: "n", words: "the next gap", act: () => goToGap(view, grid, 1, false) },
    { key: "p", words: "the gap before", act: () => goToGap(view, grid, -1, false) },
    { key: "N", words: "the next gap of the same series", act: () => goToGap(view, grid, 1, true) },
    { key: "P", words: "the gap before, of the same series", act: () => goToGap(view, grid, -1, true) },
    { key: "+", words: "zoom in", act: () => click("zoom-in"), also: "=" },
    { key: "-", words: "zoom out", act: () => click("zoom-out") },
    { key: "0", words: "all dates", act: () => view.zoomToAll() },
    { key: "]", words: "higher rows", act: () => click("rows-higher") },
    { key: "[", words: "lower rows", act: () => click("rows-lower") },
    { key: "o", words: "problems only, or all series", act: () => click("problems-only") },
    { key: "i", words: "tell more of the date, as Enter does in the picture", act: () => tooltip.toggle() },
    { key: "c", words: "show the selection as a command", act: () => commands.open() },
    { key: "/", words: "filter by customer; Enter or Esc leads back to the picture", act: () => filterBy("customer") },
    { key: "g", words: "go to the picture", act: () => grid.focus() },
    { key: "?", words: "these shortcuts", act: () => shortcuts.open() },
  ];
}

/** Go to the field of a filter, which a narrow page folds away. */
function filterBy(part) {
  const field = document.getElementById(`filter-${part}`);
  if (!field.checkVisibility()) document.getElementById("open-filters").click();
  field.focus();
}

/** Go to a gap, and say if there is none. */
function goToGap(view, grid, direction, isWithin) {
  const { first, last } = view.extent;
  const before = direction > 0 ? { row: 0, day: first - 1 } : { row: view.rows.length - 1, day: last + 1 };
  const from = view.cursor ?? (isWithin ? grid.place : before);
  const place = from && nextGap(view, from, direction, isWithin);
  if (place) grid.goTo(place);
  else grid.say(`There is no gap ${direction > 0 ? "after" : "before"} this place${isWithin ? " in the series" : ""}.`);
}

/** The panel with the shortcuts. It can switch off the keys that are single characters. */
class Shortcuts {
  #dialog = document.getElementById("shortcuts");

  constructor() {
    this.areOn = true;
    closeByBackdrop(this.#dialog);
    document.getElementById("open-shortcuts").addEventListener("click", () => this.open());
  }

  /** Write the panel. @param {{key: string, words: string}[]} keys */
  fill(keys) {
    const title = element("h2", "Shortcuts");
    title.id = "shortcuts-title";
    // Takes the focus first, so that a low window shows the list from its beginning.
    title.tabIndex = -1;
    const label = element("label", "", "switch");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => (this.areOn = box.checked));
    label.append(box, "Use these keys");
    this.#dialog.classList.add("panel");
    this.#dialog.replaceChildren(
      title,
      element("h3", "In the picture"),
      listKeys(KEYS_OF_GRID),
      element("h3", "Anywhere but in a text"),
      listKeys(keys.map(({ key, words }) => [key, words])),
      label,
      closeButton(this.#dialog),
    );
  }

  open() {
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    document.getElementById("shortcuts-title").focus();
  }
}

/** Return a table of keys and what they do. */
function listKeys(keys) {
  const list = element("dl", "", "keys");
  for (const [key, words] of keys) {
    const term = document.createElement("dt");
    term.append(element("kbd", key));
    list.append(term, element("dd", words));
  }
  return list;
}

/** Whether an event is of a place where letters are typed. */
function isTyping({ target }) {
  return target.matches?.("input:not([type=checkbox]), select, textarea") ?? false;
}

function startKeys(page) {
  page.shortcuts = new Shortcuts();
  const keys = keysOf(page);
  page.shortcuts.fill(keys);
  document.getElementById("next-gap").addEventListener("click", () => goToGap(page.view, page.grid, 1, false));
  document.getElementById("previous-gap").addEventListener("click", () => goToGap(page.view, page.grid, -1, false));
  document.getElementById("filters").addEventListener("keydown", (event) => {
    // Which applies what was typed, too.
    if (isTyping(event) && ["Enter", "Escape"].includes(event.key)) page.grid.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event)) return;
    if (event.key === "Escape") leaveStep(page);
    if (!page.shortcuts.areOn) return;
    const found = keys.find(({ key, also }) => event.key === key || event.key === also);
    if (!found) return;
    event.preventDefault();
    found.act();
  });
}

/** Take back one step: what is told, then what is selected, then the cursor. */
function leaveStep({ view, tooltip }) {
  if (tooltip.isOpen) tooltip.close();
  else if (view.anchor) view.set({ cursor: view.cursor });
  else view.set({ cursor: null });
}
