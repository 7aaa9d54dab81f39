/** Starts the parts of the page, each once, with the coverage and the view that they share. This file comes last. */

async function start() {
  const coverage = await readCoverage(document.getElementById("coverage"));
  const view = new View(coverage);
  const page = { coverage, view };
  for (const part of PARTS) part(page);
}

/** In this order. Each takes `{coverage, view}`; all elements of the page are there by then. */
const PARTS = [
  startPalette, startMasthead, startPicture, startToolbar, startGrid, startTooltip, startPlace, startSummary,
  startCommands, startKeys, startPrinting,
];

start().catch((error) => {
  const notice = document.getElementById("notice");
  notice.textContent = `The picture cannot be drawn: ${error.message ?? error}. The totals stand below.`;
  notice.hidden = false;
  console.error(error);
});
