// Answers questions about a page with the page's own block.js: `node ask_block.js PAGE BLOCK_JS` prints all that it says
// of every date of every series as JSON lines, behind a first one with the head.
const fs = require("node:fs");
const vm = require("node:vm");

const [page, script] = process.argv.slice(2);
const html = fs.readFileSync(page, "utf8");
const packed = html.match(/id="coverage">([^<]*)</)[1];
const context = {
  Array, BigInt, Blob, DecompressionStream, Date, Error, Float64Array, Infinity, JSON, Map, Math, Number, Object,
  Response, String, TextDecoder, Uint32Array, Uint8Array, atob,
};
vm.createContext(context);
vm.runInContext(`${fs.readFileSync(script, "utf8")}; this.readCoverage = readCoverage;`, context);

function show(value) {
  return JSON.stringify(value, (_, one) => {
    if (typeof one === "bigint") {
      return `bigint ${one}`;
    }
    return one instanceof Uint8Array ? Array.from(one) : one;
  });
}

async function main() {
  const coverage = await context.readCoverage({textContent: packed});
  const {first, last, count, cells} = coverage;
  const lines = [show({head: coverage.head, cells, first, last, count})];
  for (let i = 0; i < count; i++) {
    const series = coverage.series(i);
    const details = [];
    for (let day = series.first - 1; day <= series.first + series.codes.length; day++) {
      details.push({day, ...coverage.detail(i, day)});
    }
    lines.push(show({series, details}));
  }
  process.stdout.write(lines.join("\n") + "\n");
}

main();
