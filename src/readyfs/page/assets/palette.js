/**
 * The colours of the page, which the style sheet owns: one palette with a light and a dark side.
 *
 * What is drawn on a canvas asks for them here. A colour says how bad a cell is; its letter or shape says what it is.
 */

/** The custom properties of the style sheet that canvases need. */
const COLOURS = [
  "paper", "sheet", "ink", "soft", "line", "strong-line", "accent", "veil", "ready", "on-ready", "error", "on-error",
  "warn", "on-warn", "guessed", "on-guessed", "known", "on-known", "waiting", "on-waiting", "outside", "on-outside",
];

/** What the switch offers, in its order. */
const PALETTES = ["system", "light", "dark"];

class Palette {
  #listeners = new Set();
  #probe = document.createElement("span");

  constructor() {
    this.#probe.hidden = true;
    document.body.append(this.#probe);
    this.chosen = "system";
    this.#read();
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.#change());
    }
  }

  /** Choose one of PALETTES. */
  choose(name) {
    this.chosen = name;
    document.documentElement.dataset.palette = name;
    this.#change();
  }

  subscribe(listener) {
    this.#listeners.add(listener);
  }

  /** Return the fill of a cell, and the colour of a letter on it. */
  ofCell(cell) {
    const name = cell.level ?? "ready";
    return { fill: this.colours[name], on: this.colours[`on-${name}`] };
  }

  #change() {
    this.#read();
    for (const listener of this.#listeners) listener();
  }

  #read() {
    /** Whether the system sets all colours. */
    this.isForced = matchMedia("(forced-colors: active)").matches;
    /** @type {Record<string, string>} */
    this.colours = {};
    for (const name of COLOURS) {
      this.#probe.style.color = `var(--${name})`;
      this.colours[name] = getComputedStyle(this.#probe).color;
    }
  }
}

function startPalette(page) {
  const palette = new Palette();
  page.palette = palette;
  const button = document.getElementById("palette");
  button.addEventListener("click", () => {
    palette.choose(PALETTES[(PALETTES.indexOf(palette.chosen) + 1) % PALETTES.length]);
    button.textContent = `Palette: ${palette.chosen}`;
  });
}
