/** The panel that shows what is selected as commands, and copies them. */

class CommandPanel {
  #dialog = document.createElement("dialog");

  /** @param {{view: View, grid: Grid}} page */
  constructor({ view, grid }) {
    this.view = view;
    this.grid = grid;
    this.#dialog.id = "commands";
    this.#dialog.className = "panel";
    this.#dialog.setAttribute("aria-labelledby", "commands-title");
    document.body.append(this.#dialog);
    closeByBackdrop(this.#dialog);
    document.getElementById("copy-command").addEventListener("click", () => this.open());
  }

  open() {
    const { view } = this;
    const { commands, problem } = commandsOf(view.coverage, selectionOf(view));
    const title = element("h2", "As a command");
    title.id = "commands-title";
    const about = view.cursor ? sayPlace(view) : `All that is shown: ${sayShown(view)}`;
    const parts = [title, element("p", about)];
    for (const command of commands) parts.push(...this.#describe(command));
    if (problem) parts.push(element("p", problem));
    this.#dialog.replaceChildren(...parts, closeButton(this.#dialog));
    this.#dialog.showModal();
    (this.#dialog.querySelector("button") ?? this.#dialog).focus();
  }

  /** Return the elements of a command: what it tells, its lines, and a button. */
  #describe({ about, lines }) {
    const heading = element("h3", about);
    const text = element("pre", lines.join("\n"), "command");
    text.tabIndex = 0;
    text.setAttribute("aria-label", `${about}, the command`);
    const button = element("button", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${about}`);
    const told = element("output", "");
    button.addEventListener("click", async () => {
      told.textContent = (await copyText(lines.join("\n"), this.#dialog)) ? "Copied." : selectText(text);
    });
    const row = element("div", "", "command-row");
    row.append(button, told);
    return [heading, text, row];
  }
}

/** Return what is selected, in a few words. */
function sayPlace(view) {
  const { rows, days } = selectedBox(view);
  const count = rows.last - rows.first + 1;
  const series = nameOfSeries(view.coverage, view.coverage.series(view.rows[rows.first]));
  const dates = days.first === days.last ? isoOf(days.first) : `${isoOf(days.first)} to ${isoOf(days.last)}`;
  return `${count > 1 ? `${count} series` : series}, ${dates}`;
}

function sayShown(view) {
  const { first, last } = view.extent;
  return `${view.rows.length} of ${view.coverage.count} series, ${isoOf(first)} to ${isoOf(last)}`;
}

/**
 * Copy a text; return whether it could be. A page that was opened as a file may not use the clipboard in each browser,
 * so that an older way follows.
 *
 * @param {string} text
 * @param {HTMLElement} within  an element that may hold the focus
 * @returns {Promise<boolean>}
 */
async function copyText(text, within) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    // Refused, or not there at all.
    if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
  }
  const before = document.activeElement;
  const field = element("textarea", "", "for-readers");
  field.value = text;
  within.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  before?.focus();
  return isCopied;
}

/** Select the text of an element, for those who must copy it by hand; return what they are told. */
function selectText(shown) {
  getSelection().selectAllChildren(shown);
  return "The browser refuses the clipboard. The text is selected: copy it with Ctrl+C.";
}

/** Return a button that closes a dialog. */
function closeButton(dialog) {
  const button = element("button", "Close", "close");
  button.type = "button";
  button.addEventListener("click", () => dialog.close());
  return button;
}

/** Close a dialog by a click outside of it. */
function closeByBackdrop(dialog) {
  dialog.addEventListener("click", (event) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    // A key that presses a button gives no point.
    if (event.target === dialog && (x < left || x > right || y < top || y > bottom)) dialog.close();
  });
}

function startCommands(page) {
  page.commands = new CommandPanel(page);
}
