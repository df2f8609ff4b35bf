// Search over the ledger's index. Only the visible rows exist as elements, so 10,000 scroll like ten.

import { search as find } from "./api.js";
import { $, bdi, bytes, clock, h, number, pixels } from "./dom.js";
import { tone, word } from "./stages.js";
import { open } from "./detail.js";

const ROW = 44;
const SPARE = 8;
const MOST = 10000;
const STATUSES = ["claimed", "submitted", "retrying", "enhanced", "failed", "unknown", "rejected", "superseded"];

let cards = [];
let request = 0;
let timer = 0;
let built = null;
const rows = [];

/** Shows the view; the first time, it searches. */
export function show(visible) {
  if (!visible || built) return;
  built = build();
  search();
}

function build() {
  const field = (label, control) => h("label", { class: "field" }, h("span", {}, label), control);
  const contains = h("input", { type: "search", name: "text", maxlength: 200, placeholder: "part of a key", input: later });
  const folder = h("input", { type: "text", name: "folder", maxlength: 1024, placeholder: "holiday/", input: later });
  const status = h("select", { name: "status", change: search }, h("option", { value: "" }, "any"), STATUSES.map(one => h("option", { value: one }, one)));
  const day = h("input", { type: "date", name: "day", change: search });
  const count = h("p", { class: "hint", role: "status" });
  const spacer = h("div", { class: "spacer", role: "presentation" });
  const list = h("div", { class: "rows-view", role: "grid", "aria-label": "Found uploads", tabindex: "0", scroll: draw, keydown: key }, spacer);
  $("search").replaceChildren(h("form", { class: "filters", role: "search", submit: event => { event.preventDefault(); search(); } }, field("Key contains", contains), field("Folder", folder), field("Status", status), field("Day (UTC)", day)), count, list);
  new ResizeObserver(draw).observe(list);
  return { contains, folder, status, day, count, list, spacer };
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(search, 250);
}

async function search() {
  clearTimeout(timer);
  const mine = (request += 1);
  const { contains, folder, status, day, count, list } = built;
  const query = new URLSearchParams({ limit: MOST });
  for (const control of [contains, folder, status, day]) if (control.value) query.set(control.name, control.value);
  count.textContent = "Searching …";
  try {
    list.scrollTop = 0;
    const found = await find(query, page => mine === request && fill(page));
    if (mine !== request) return;
    fill(found.cards);
    const noun = cards.length === 1 ? "upload" : "uploads";
    count.textContent = cards.length ? `${number(cards.length)}${found.more ? " or more" : ""} ${noun}, the last change first` : "No upload matches.";
  } catch (error) {
    if (mine === request) count.textContent = error.message;
  }
}

function fill(found) {
  cards = found;
  built.count.textContent = `${number(cards.length)} found …`;
  built.list.setAttribute("aria-rowcount", cards.length);
  built.spacer.style.setProperty("height", `${cards.length * ROW}px`);
  draw();
}

/** Reuses the elements: each one shows the row at its own distance from the first, so their order is that of the rows. */
function draw() {
  const { list, spacer } = built;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(cards.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  for (let at = first; at < Math.max(last, first + rows.length); at += 1) {
    const row = rows[at - first] ?? make(spacer);
    if (at >= last) { row.at = -1; row.card = null; row.box.hidden = true; }
    else if (row.at !== at || row.card !== cards[at]) put(row, at);
  }
  mark();
}

function make(spacer) {
  const cells = ["name", "state", "size", "when", "code"].map(name => h("span", { class: `cell ${name}`, role: "gridcell" }));
  const button = h("button", { class: "plain link", type: "button", tabindex: "-1", click: () => open(row.card) });
  cells[0].append(button);
  const row = { box: h("div", { class: "row", role: "row", click: () => open(row.card) }, cells), button, cells, at: -1, card: null };
  button.addEventListener("click", event => event.stopPropagation());
  spacer.append(row.box);
  rows.push(row);
  return row;
}

function put(row, at) {
  const card = cards[at];
  row.at = at;
  row.card = card;
  row.box.hidden = false;
  row.box.dataset.tone = tone(card.status);
  row.box.setAttribute("aria-rowindex", at + 1);
  row.box.style.setProperty("transform", `translateY(${at * ROW}px)`);
  row.button.replaceChildren(bdi(card.name));
  row.button.title = card.name;
  const [, state, size, when, code] = row.cells;
  state.replaceChildren(h("span", { class: "pill" }, word(card.status)));
  size.textContent = card.output?.pixels ? `${pixels(card.pixels)} → ${pixels(card.output.pixels)}` : bytes(card.size);
  when.textContent = clock(card.changed);
  code.textContent = card.code ?? (card.reused ? "reused" : "");
}

let selected = -1;

function key(event) {
  const page = Math.max(1, Math.floor(built.list.clientHeight / ROW) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -cards.length, End: cards.length };
  if (event.target !== built.list || !(event.key in moves || event.key === "Enter") || !cards.length) return;
  event.preventDefault(); // also of Enter, which would press a button of the dialog
  if (event.key === "Enter") {
    if (cards[selected]) open(cards[selected]);
    return;
  }
  selected = Math.min(cards.length - 1, Math.max(0, selected + moves[event.key]));
  const top = selected * ROW;
  const { list } = built;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  draw();
  list.setAttribute("aria-activedescendant", "selected-row");
}

/** Marks the selected row, whichever element shows it now. */
function mark() {
  for (const row of rows) {
    row.box.classList.toggle("selected", row.at === selected && selected >= 0);
    if (row.at === selected && selected >= 0) row.box.id = "selected-row";
    else row.box.removeAttribute("id");
  }
}
