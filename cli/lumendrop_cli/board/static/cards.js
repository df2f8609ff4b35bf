// The live view: one card per upload. A card changes in place, so nothing flickers and the focus stays.

import { $, announce, bdi, bytes, h, icon, pixels, seconds } from "./dom.js";
import { state } from "./feed.js";
import { STEPS, isMoving, reached, tone, word } from "./stages.js";
import { forget, show, shownPixels } from "./thumbnails.js";
import { open } from "./detail.js";
import { actionButtons } from "./actions.js";

const shown = new Map(); // parts of each card by ID
const local = new Map(); // uploads from this page that the ledger doesn't have yet, by ID
const order = []; // the same parts, as on the page
let pending = new Set();
let frame = 0;

/** Draws these cards in the next frame. */
export function update({ cards, gone }) {
  for (const card of cards) pending.add(card.id);
  for (const id of gone) pending.add(id);
  schedule();
}

/** Shows an upload of this page. Without `card`, it is removed. */
export function showLocal(id, card) {
  if (card) local.set(id, { ...card, id });
  else local.delete(id);
  pending.add(id);
  schedule();
}

/** Whether the ledger has this version of a key. */
export function isKnown(key, version) {
  for (const card of state.cards.values()) if (card.key === key && card.version === version) return true;
  return false;
}

function schedule() {
  frame ||= requestAnimationFrame(draw);
}

const BUDGET_MS = 6;
const CARDS_PER_FRAME = 8;

function draw() {
  frame = 0;
  const started = performance.now();
  const ids = pending;
  pending = new Set();
  let drawn = 0;
  for (const id of ids) {
    if (drawn >= CARDS_PER_FRAME || performance.now() - started > BUDGET_MS) pending.add(id);
    else drawOne(id);
    drawn += 1;
  }
  if (pending.size) schedule();
  $("empty").hidden = !state.figures.complete || shown.size > 0;
}

function drawOne(id) {
  const card = local.get(id) ?? state.cards.get(id);
  const parts = shown.get(id);
  if (!card) {
    if (!parts) return;
    parts.box.remove();
    shown.delete(id);
    order.splice(order.indexOf(parts), 1);
    forget(id);
    return;
  }
  const made = parts ?? build(card);
  if (!parts) insert(made, card);
  refresh(made, card);
}

/** The newest comes first. */
function insert(parts, card) {
  shown.set(card.id, parts);
  let next = order.findIndex(other => other.born < parts.born);
  if (next < 0) next = order.length;
  $("cards").insertBefore(parts.box, order[next]?.box ?? null);
  order.splice(next, 0, parts);
  if (!card.local) show(parts.image, card, () => { parts.facts.textContent = factsOf(parts.card); });
}

const born = card => (card.submitted ? card.submitted * 1000 : Date.parse(card.changed) || Date.now());

function build(card) {
  const image = h("img", { alt: "", hidden: true, decoding: "async" });
  const label = h("span", { class: "pill" });
  const opener = h("button", { class: "thumbnail", type: "button", click: () => open(parts.card) }, h("span", { class: "placeholder" }, icon("image")), image, label);
  const name = bdi(card.name, { class: "name", title: card.name });
  const facts = h("span", { class: "facts" });
  const steps = h("span", { class: "steps", "aria-hidden": "true" }, STEPS.map(() => h("i")));
  const status = h("span", { class: "status" });
  const note = h("p", { class: "note", hidden: true });
  const buttons = h("div", { class: "buttons", hidden: true });
  const box = h("li", { class: "card", "data-id": card.id }, opener, h("div", { class: "body" }, name, h("div", { class: "line" }, status, facts), steps, note, buttons));
  const parts = { box, image, label, opener, status, facts, steps, note, buttons, card, born: born(card), stage: null };
  name.addEventListener("click", () => opener.click()); // with the keyboard, the thumbnail alone is enough
  return parts;
}

function refresh(parts, card) {
  const { box } = parts;
  const hadStage = parts.stage;
  parts.card = card;
  parts.stage = card.stage;
  box.dataset.stage = card.stage;
  box.dataset.tone = tone(card.stage);
  box.classList.toggle("moving", isMoving(card.stage));
  parts.label.textContent = word(card.stage);
  parts.opener.setAttribute("aria-label", `${card.name}: ${word(card.stage)}. ${card.stage === "enhanced" ? "Compare" : "Show details"}`);
  parts.opener.disabled = Boolean(card.local);
  const at = reached(card.stage);
  [...parts.steps.children].forEach((step, place) => { step.className = at < 0 ? "" : place < at ? "done" : place === at ? "now" : ""; });
  parts.steps.style.setProperty("--percent", progress(card));
  parts.facts.textContent = factsOf(card);
  parts.status.textContent = statusText(card);
  parts.note.hidden = !card.message;
  parts.note.textContent = card.message ?? "";
  const key = JSON.stringify([card.actions, card.retry ? 1 : 0, state.config?.read_only]);
  if (parts.buttons.dataset.for !== key) {
    parts.buttons.dataset.for = key;
    parts.buttons.replaceChildren(...buttonsOf(card));
    parts.buttons.hidden = !parts.buttons.children.length;
  }
  if (hadStage && hadStage !== card.stage) announce(`${card.name}: ${word(card.stage)}`);
}

function buttonsOf(card) {
  if (card.retry) return [h("button", { class: "button small", type: "button", click: card.retry }, "Upload again")];
  return isMoving(card.stage) ? [] : actionButtons(card);
}

function factsOf(card) {
  const before = pixels(shownPixels(card));
  if (card.output?.pixels && before) return `${before} → ${pixels(card.output.pixels)}`;
  return [before, card.size ? bytes(card.size) : ""].filter(Boolean).join(" · ");
}

function progress(card) {
  if (card.stage === "uploading") return card.percent ?? 0;
  return card.stage === "enhancing" ? card.percent ?? 0 : 0;
}

/** What happens now. A percentage is the enhancer's own; without one, the elapsed time is shown with its estimate. */
function statusText(card) {
  if (card.stage === "uploading") return `Uploading ${Math.round(card.percent ?? 0)} %`;
  if (card.stage === "enhanced") return card.reused ? "Enhanced · reused, nothing paid" : `Enhanced${took(card)}`;
  if (card.stage === "enhancing" && card.percent !== null) return `Enhancing ${Math.round(card.percent)} %`;
  if ((card.stage === "enhancing" || card.stage === "waiting") && card.submitted) {
    const elapsed = Math.max(0, Date.now() / 1000 - card.submitted);
    const estimate = card.estimate ? `, estimated ${seconds(card.estimate)}` : "";
    return `${word(card.stage)} · ${seconds(Math.round(elapsed) || 1)}${estimate}`;
  }
  return card.code ? `${word(card.stage)} · ${card.code}` : word(card.stage);
}

function took(card) {
  const time = card.finished && card.submitted ? Date.parse(card.finished) / 1000 - card.submitted : NaN;
  return time > 0 ? ` in ${seconds(time)}` : "";
}

/** The elapsed time of running tasks, once a second while the page is visible. */
setInterval(() => {
  if (document.hidden) return;
  for (const parts of shown.values()) {
    if (isMoving(parts.stage) && !parts.card.local) {
      const text = statusText(parts.card);
      if (parts.status.textContent !== text) parts.status.textContent = text;
    }
  }
}, 1000);
