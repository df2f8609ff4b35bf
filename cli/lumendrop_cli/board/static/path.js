// An execution, drawn as its path through the workflow's states. Iterations of the same states are drawn once.

import { clock, h, icon, seconds } from "./dom.js";

const LONGEST_LOOP = 4;

/** The elements that show an execution. */
export function draw(execution) {
  if (execution.error && !execution.states) return [];
  if (!execution.states?.length) return [h("h3", {}, "Execution"), h("p", { class: "hint" }, "It has not started.")];
  const ended = execution.ended ?? Date.now() / 1000;
  const total = Math.max(0.001, ended - execution.started);
  const steps = group(execution.states.map(one => ({ ...one, left: one.left ?? execution.ended ?? null, seconds: (one.left ?? ended) - one.entered })));
  const parts = [
    h("h3", {}, "Execution ", h("span", { class: "pill", "data-tone": toneOf(execution.status) }, execution.status.toLowerCase().replace("_", " "))),
    h("p", { class: "hint" }, `${clock(execution.started * 1000)}, ${seconds(total)}`, execution.console ? [" · ", h("a", { href: execution.console, rel: "noreferrer", target: "_blank" }, "Step Functions console", icon("link"))] : null),
    h("ol", { class: "path" }, steps.map(step => drawStep(step, total))),
  ];
  if (execution.error) parts.push(h("p", { class: "message" }, h("code", {}, execution.error), " ", execution.cause ?? ""));
  return parts;
}

function drawStep(step, total) {
  const bar = h("span", { class: "time" });
  bar.style.setProperty("--share", Math.max(0.01, Math.min(1, step.seconds / total)));
  const names = step.names.map((name, place) => [place ? " → " : "", h("span", { class: "state" }, name)]);
  return h("li", { "data-type": step.type, "data-tone": step.error ? "bad" : step.isCurrent ? "busy" : "" },
    h("span", { class: "names" }, names, step.times > 1 ? h("span", { class: "loop" }, ` ↻ ${step.times} times`) : null, step.error ? h("code", {}, ` ${step.error}`) : null),
    h("span", { class: "seconds" }, step.isCurrent ? `${seconds(step.seconds)} so far` : seconds(step.seconds)), bar);
}

/** Joins repeated sequences of up to four states: their times add up. */
export function group(states) {
  const found = [];
  let at = 0;
  while (at < states.length) {
    const length = loopAt(states, at);
    const times = length ? repeats(states, at, length) : 1;
    const part = states.slice(at, at + (length || 1) * times);
    found.push({
      names: part.slice(0, length || 1).map(one => one.name),
      type: part[0].type,
      times,
      seconds: part.reduce((sum, one) => sum + one.seconds, 0),
      error: part.findLast(one => one.error)?.error,
      isCurrent: part.at(-1).left === null,
    });
    at += part.length;
  }
  return found;
}

function loopAt(states, at) {
  for (let length = LONGEST_LOOP; length > 1; length -= 1) if (repeats(states, at, length) > 1) return length;
  return repeats(states, at, 1) > 1 ? 1 : 0;
}

function repeats(states, at, length) {
  let times = 1;
  while (states.slice(at, at + length).every((one, place) => states[at + times * length + place]?.name === one.name)) times += 1;
  return times;
}

const toneOf = status => ({ SUCCEEDED: "good", RUNNING: "busy" })[status] ?? "bad";
