/** The bar above the picture: the legend, whose boxes are filters; the other filters; and the buttons of the zoom. */

/** Milliseconds without a key before a text filters. */
const TYPING_MS = 180;

/** Names that are proposed for a filter, at most. */
const MOST_NAMES = 200;

function startToolbar(page) {
  const { view, coverage, palette } = page;
  document.getElementById("toolbar").hidden = false;
  const repaint = fillLegend(view, coverage, palette);
  palette.subscribe(repaint);
  bindFilters(view, coverage);
  const opener = document.getElementById("open-filters");
  opener.addEventListener("click", () => {
    const isOpen = document.getElementById("filters").classList.toggle("open");
    opener.setAttribute("aria-expanded", String(isOpen));
  });
  bindZoom(view);
}

function fillLegend(view, coverage, palette) {
  const legend = document.getElementById("legend");
  const swatches = [];
  const statuses = legend.appendChild(element("div", "", "chips"));
  for (const key of STATUS_KEYS) {
    const cell = coverage.cells.findLast((one) => statusKey(one) === key);
    const chip = statuses.appendChild(element("label", "", "chip"));
    const box = chip.appendChild(document.createElement("input"));
    box.type = "checkbox";
    box.checked = view.filter.statuses.has(key);
    box.dataset.status = key;
    box.addEventListener("change", () => {
      const chosen = new Set(view.filter.statuses);
      if (box.checked) chosen.add(key);
      else chosen.delete(key);
      view.set({ filter: { statuses: chosen } });
    });
    swatches.push(addSwatch(chip, cell, 18), addSwatch(chip, cell, 7));
    chip.append(cell.status);
  }
  view.subscribe((changed) => {
    if (!changed.has("filter")) return;
    for (const box of legend.querySelectorAll("input")) box.checked = view.filter.statuses.has(box.dataset.status);
  });
  const paint = () => {
    for (const { canvas, cell, width } of swatches) {
      const { ratio } = view.size;
      const context = sized(canvas, width, 18, ratio);
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      drawCell(context, cell, palette, { x: 0, y: 0, width: canvas.width, height: canvas.height }, ratio);
    }
  };
  paint();
  return paint;
}

function addSwatch(parent, cell, width) {
  const canvas = element("canvas", "", width < LEAST_LETTER ? "swatch narrow" : "swatch");
  canvas.setAttribute("aria-hidden", "true");
  parent.append(canvas);
  return { canvas, cell, width };
}

function bindFilters(view, coverage) {
  const field = (id) => document.getElementById(id);
  const texts = ["source", "customer", "query"];
  for (const name of texts) {
    const input = field(`filter-${name}`);
    let timer = 0;
    const apply = () => view.set({ filter: { [name]: input.value } });
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, TYPING_MS);
    });
    input.addEventListener("change", apply);
    input.addEventListener("focus", () => proposeNames(coverage, name), { once: true });
  }
  for (const name of ["since", "until"]) {
    const input = field(`filter-${name}`);
    input.addEventListener("change", () => {
      const day = input.value.trim() ? parseDay(input.value) : null;
      const isWrong = input.value.trim() !== "" && day === null;
      input.setCustomValidity(isWrong ? "A date is written YYYY-MM-DD." : "");
      input.reportValidity();
      if (isWrong) return;
      view.set({ filter: { [name]: day } });
      view.zoomToAll();
    });
  }
  field("sort").addEventListener("change", (event) => view.set({ sort: event.target.value, y: { start: 0 } }));
  field("problems-only").addEventListener("change", (event) => {
    view.set({ filter: { problemsOnly: event.target.checked }, y: { start: 0 } });
  });
  field("clear-filters").addEventListener("click", () => {
    view.set({ filter: noFilter(), sort: "key" });
    view.zoomToAll();
  });
  const show = () => {
    const { filter } = view;
    for (const name of texts) {
      const input = field(`filter-${name}`);
      if (document.activeElement !== input) input.value = filter[name];
    }
    for (const name of ["since", "until"]) {
      field(`filter-${name}`).value = filter[name] === null ? "" : isoOf(filter[name]);
    }
    field("sort").value = view.sort;
    field("problems-only").checked = filter.problemsOnly;
    field("clear-filters").disabled = view.sort === "key" && isNoFilter(filter);
  };
  view.subscribe((changed) => {
    if (changed.has("filter") || changed.has("sort")) show();
  });
  show();
}

function isNoFilter(filter) {
  const none = noFilter();
  return Object.keys(none).every((name) => (
    name === "statuses" ? filter.statuses.size === none.statuses.size : filter[name] === none[name]
  ));
}

function proposeNames(coverage, field) {
  const names = new Set();
  for (let index = 0; index < coverage.count && names.size < MOST_NAMES; index++) {
    names.add(coverage.series(index)[field]);
  }
  const list = document.getElementById(`names-${field}`);
  for (const name of names) {
    const option = document.createElement("option");
    option.value = name;
    list.append(option);
  }
}

function bindZoom(view) {
  const on = (id, act) => document.getElementById(id).addEventListener("click", act);
  on("zoom-in", () => view.zoomBy(1.6, anchorOf(view)));
  on("zoom-out", () => view.zoomBy(1 / 1.6, anchorOf(view)));
  on("rows-higher", () => view.zoomRowsBy(1.4));
  on("rows-lower", () => view.zoomRowsBy(1 / 1.4));
  for (const button of document.querySelectorAll("#periods button")) {
    button.addEventListener("click", () => showPeriod(view, Number(button.dataset.days)));
  }
  const extent = document.getElementById("extent");
  const say = () => {
    const { first, last } = view.inSight;
    const rows = manyWords(view.rows.length);
    const dates = view.isEmpty ? "no dates" : `${isoOf(first)} to ${isoOf(last)}`;
    extent.textContent = `${dates} · ${rows} of ${manyWords(view.coverage.count)} series`;
  };
  view.subscribe(say);
  say();
}

/** Zoom about the cursor if it is in sight. */
function anchorOf(view) {
  if (!view.cursor) return undefined;
  const left = (view.cursor.day + 0.5 - view.x.start) / view.x.perPixel;
  return left > 0 && left < view.size.width ? left : undefined;
}

/** Show so many days about the cursor, or the newest ones; 0 shows all. */
function showPeriod(view, days) {
  if (!days) {
    view.zoomToAll();
    return;
  }
  const { last } = view.extent;
  const middle = view.cursor ? view.cursor.day : last;
  const first = Math.min(middle - Math.floor(days / 2), last - days + 1);
  view.zoomTo({ first, last: first + days - 1 });
}
