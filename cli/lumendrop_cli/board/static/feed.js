// The connection to the server: its events become the page's state. A hidden page is not connected.

import { events } from "./api.js";
import { $ } from "./dom.js";

const RETRY_MS = [500, 1000, 2000, 4000];

/** What the page knows. `cards` is by ID. */
export const state = { figures: {}, cards: new Map(), config: null };

const listeners = new Set();
/** Calls `listener` with { figures, cards, gone } after each change; both lists are of cards or IDs. */
export const onChange = listener => listeners.add(listener);

let source = null;
let attempts = 0;
let timer = 0;

/** Connects, and stays connected while the page is visible. */
export function connect() {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  if (!document.hidden) open();
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function open() {
  close();
  source = events();
  source.addEventListener("open", () => { attempts = 0; show("live", source.label ?? "Live"); });
  source.addEventListener("snapshot", event => replace(JSON.parse(event.data)));
  source.addEventListener("change", event => apply(JSON.parse(event.data)));
  source.addEventListener("error", () => retry());
}

async function retry() {
  close();
  show("lost", "Reconnecting");
  timer = setTimeout(open, RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)]);
  attempts += 1;
  if (attempts < 3) return;
  let text = "The board's server does not answer. Start it again with `lumendrop board`, and open the address that it prints. This page then continues by itself.";
  try {
    const answer = await fetch("/api/config");
    if (answer.status === 401) text = "The board was started again. Open the address that it has printed, in any tab: this page then continues by itself.";
    else if (answer.ok) text = "";
  } catch { /* it is not running */ }
  if (attempts >= 3) banner(text);
}

/** Shows a problem above the page; an empty text removes it. */
export function banner(text) {
  $("banner").hidden = !text;
  $("banner").textContent = text;
}

function show(kind, text) {
  $("connection").dataset.state = kind;
  $("connection-text").textContent = text;
}

function replace(snapshot) {
  const shown = new Set(snapshot.cards.map(card => card.id));
  const gone = [...state.cards.keys()].filter(id => !shown.has(id));
  banner("");
  apply({ ...snapshot, gone });
}

function apply({ figures = {}, cards = [], gone = [] }) {
  Object.assign(state.figures, figures);
  for (const card of cards) state.cards.set(card.id, card);
  for (const id of gone) state.cards.delete(id);
  if ("problem" in figures) banner(figures.problem ?? "");
  for (const listener of listeners) listener({ figures, cards, gone });
}
