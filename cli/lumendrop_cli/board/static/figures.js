// The figures at the top: each one says what it counts, and what limits it.

import { $, clock, h, number, usd } from "./dom.js";
import { state } from "./feed.js";

const tiles = new Map();

/** Shows the figures that the server has sent so far. */
export function update() {
  const figures = state.figures;
  tile("Queue", figures.queue ? number(figures.queue.waiting) : "–", figures.event_source?.paused ? "paused: uploads wait" : "uploads waiting", figures.event_source?.paused ? "warn" : "");
  tile("Enhancing", number(figures.running ?? 0), figures.running === 1 ? "task running" : "tasks running", figures.running ? "busy" : "");
  tile("Rate", ...rate(figures));
  tile("Today", ...spend(figures.spend));
  tile("Alarms", ...alarms(figures.alarms));
  tile("Account", ...account(figures));
}

function rate({ rate: found, account: metrics, spend: today, event_source: source }) {
  if (!found) return ["–", ""];
  if (source?.paused) return ["Paused", "by you; Resume continues", "warn"];
  if (today && today.tasks >= today.limit) return ["Stopped", "the daily limit is reached; it continues tomorrow (UTC)", "warn"];
  const until = found.until ? clock(found.until * 1000) : "";
  if (found.state === "outage") return ["Waiting", `the enhancer is unavailable; next try ${until}`, "bad"];
  if (found.state === "refused") return ["Waiting", `the enhancer refused a task; until ${until}`, "warn"];
  if (found.state === "limited") return [`${number(found.per_minute)}/min`, "limited after a refusal; speeds up again", "warn"];
  return ["Full speed", metrics?.created ? `${tasks(metrics.created)} in 15 minutes` : "nothing limits it"];
}

function spend(today) {
  if (!today) return ["–", ""];
  const share = Math.min(1, today.tasks / today.limit);
  return [usd(today.usd), `${number(today.tasks)} of ${number(today.limit)} tasks`, share >= 1 ? "bad" : share > 0.8 ? "warn" : "", share];
}

function alarms(found) {
  if (!found) return ["–", ""];
  if (!found.active.length && !found.evaluated) return ["–", "not simulated: the sandbox never evaluates them"];
  if (!found.active.length) return ["None", `of ${number(found.count)} is on`, "good"];
  return [number(found.active.length), found.active.map(one => `${one.name}: ${one.text}`).join("\n"), "bad"];
}

function account({ account: found }) {
  if (!found) return ["–", ""];
  if (found.blocked) return ["Blocked", "the enhancer rejects the account: run lumendrop doctor", "bad"];
  if (found.unavailable) return ["Trouble", "calls to the enhancer have failed in the last 15 minutes", "warn"];
  return ["OK", "no refusal in 15 minutes", "good"];
}

const tasks = count => `${number(count)} ${count === 1 ? "task" : "tasks"}`;

function tile(name, value, note, tone = "", share = null) {
  let parts = tiles.get(name);
  if (!parts) {
    parts = { value: h("span", { class: "value" }), note: h("span", { class: "note" }), meter: h("span", { class: "meter", hidden: true }, h("span")) };
    parts.box = h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, parts.value, parts.note, parts.meter));
    tiles.set(name, parts);
    $("figures").append(parts.box);
  }
  set(parts.value, value);
  set(parts.note, note);
  parts.note.title = note;
  parts.box.dataset.tone = tone;
  parts.meter.hidden = share === null;
  if (share !== null) parts.meter.firstChild.style.setProperty("--share", share);
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
