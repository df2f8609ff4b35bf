// Evaluates expressions with the official engine. Reads one JSON document per line: the expression, its variables, and the
// time in milliseconds. Writes one per line: the value, or that it is undefined, or the error.
const jsonata = require("jsonata");
const readline = require("node:readline");

const RealDate = Date;

// The engine takes the time of $now() and $millis() from `new Date()`.
function setClock(milliseconds) {
  globalThis.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [milliseconds]));
    }
  };
}

async function evaluate({ expression, variables, now }) {
  try {
    setClock(now);
    const parsed = jsonata(expression);
    // Step Functions adds $parse and has no $eval.
    parsed.registerFunction("parse", (text) => JSON.parse(text), "<s:x>");
    const value = await parsed.evaluate(undefined, variables);
    return value === undefined ? { undefined: true } : { value };
  } catch (error) {
    return { error: `${error.code ?? ""} ${error.message}`.trim() };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await evaluate(JSON.parse(line)))}\n`);
  }
}

main();
