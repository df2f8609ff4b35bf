// Uploads without an enhanced photo, by code, with what to do.

import { search } from "./api.js";
import { $, bdi, clock, h, number } from "./dom.js";
import { onChange, state } from "./feed.js";
import { tone, word } from "./stages.js";
import { actionButtons, retryAllButton } from "./actions.js";
import { open } from "./detail.js";

const STATUSES = ["failed", "unknown", "rejected"];
const DAYS = 30;
const MOST = 2000;
const SHOWN = 50;
let timer = 0;
let isVisible = false;

/** Shows or hides the view. */
export function show(visible) {
  isVisible = visible;
  if (!visible) return;
  if (!$("failures").firstChild) $("failures").append(h("p", { class: "hint" }, "Reading the ledger …"));
  load();
}

onChange(({ cards }) => {
  const failed = [...state.cards.values()].filter(card => STATUSES.includes(card.status)).length;
  $("failure-count").hidden = !failed;
  $("failure-count").textContent = number(failed);
  if (isVisible && cards.some(card => STATUSES.includes(card.status) || card.status === "retrying" || card.attempt > 1)) {
    clearTimeout(timer);
    timer = setTimeout(load, 500);
  }
});

async function load() {
  const query = STATUSES.map(status => `status=${status}`).join("&");
  try {
    render(await search(`${query}&days=${DAYS}&limit=${MOST}`));
  } catch (error) {
    $("failures").replaceChildren(h("p", { class: "message" }, error.message));
  }
}

function render({ cards, more }) {
  const groups = new Map();
  for (const card of cards) groups.set(card.code ?? card.status, [...(groups.get(card.code ?? card.status) ?? []), card]);
  const order = code => STATUSES.indexOf(groups.get(code)[0].status);
  const codes = [...groups.keys()].sort((one, two) => order(one) - order(two) || groups.get(two).length - groups.get(one).length);
  const hasFocus = $("failures").contains(document.activeElement);
  $("failures").replaceChildren(
    h("p", { class: "hint" }, cards.length ? `Uploads of the last ${DAYS} days that have no enhanced photo. Each one also has a report below errors/ in the output bucket.` : `No upload of the last ${DAYS} days ended without an enhanced photo.`),
    ...codes.map(code => section(code, groups.get(code))),
    more ? h("p", { class: "hint" }, `The newest ${number(MOST)}.`) : "");
  if (hasFocus) $("content").focus({ preventScroll: true });
}

function section(code, cards) {
  const first = cards[0];
  const retryable = cards.filter(card => card.actions.includes("retry")).length;
  return h("section", { class: "failure", "data-tone": tone(first.status), "aria-label": code },
    h("div", { class: "failure-head" }, h("h2", {}, h("code", {}, code)), h("span", { class: "pill" }, word(first.status)), h("span", { class: "count" }, number(cards.length)), h("span", { class: "cost" }, first.may_have_cost ? "may have cost a task" : "cost nothing"), retryable > 1 && first.code ? retryAllButton(first.code, retryable) : null),
    first.advice ? h("p", { class: "advice" }, first.advice) : null,
    h("ul", { class: "failure-list" }, cards.slice(0, SHOWN).map(item)),
    cards.length > SHOWN ? h("p", { class: "hint" }, `${number(cards.length - SHOWN)} more: see Search.`) : null);
}

function item(card) {
  return h("li", {}, h("div", { class: "failure-text" }, h("button", { class: "plain link", type: "button", click: () => open(card) }, bdi(card.name)), h("span", { class: "message" }, card.message ?? ""), h("time", {}, clock(card.changed))), h("div", { class: "buttons" }, actionButtons(card)));
}
