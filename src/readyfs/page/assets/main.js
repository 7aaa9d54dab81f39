/** Starts the page. */
async function main() {
  try {
    const coverage = await readCoverage(document.getElementById("coverage"));
    const totals = Object.entries(coverage.head.totals).map(([name, value]) => `${name} ${value}`);
    document.getElementById("totals").textContent = totals.join("\n");
  } catch (error) {
    const notice = document.getElementById("notice");
    notice.textContent = String(error.message);
    notice.hidden = false;
    throw error;
  }
}

main();
