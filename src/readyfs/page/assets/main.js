/** Starts the page. */
async function main() {
  const message = document.getElementById("message");
  try {
    const coverage = await readCoverage(document.getElementById("coverage"));
    const totals = document.getElementById("totals");
    for (const [name, value] of Object.entries(coverage.head.totals)) {
      const row = totals.appendChild(document.createElement("tr"));
      row.appendChild(document.createElement("th")).textContent = name;
      row.appendChild(document.createElement("td")).textContent = String(value);
    }
    document.getElementById("main").hidden = false;
    message.textContent = "";
  } catch (error) {
    message.textContent = String(error.message);
    throw error;
  }
}

main();
