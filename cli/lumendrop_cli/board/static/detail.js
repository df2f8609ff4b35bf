// One upload in full: the photo before and after, what it cost, its metadata, and its path through the workflow.

import { details, download, execution, media } from "./api.js";
import { bdi, bytes, clock, h, icon, pixels, usd } from "./dom.js";
import { onChange, state } from "./feed.js";
import { tone, word } from "./stages.js";
import { actionButtons } from "./actions.js";
import { draw } from "./path.js";
import { shownPixels } from "./thumbnails.js";
import "./compare.js";

let current = null;

/** Opens an upload in a dialog; the focus returns to where it was. */
export function open(card) {
  const stage = h("div", { class: "detail-stage" });
  const side = h("div", { class: "detail-side" });
  const close = h("button", { class: "plain close", type: "button", "aria-label": "Close", click: () => dialog.close() }, icon("close"));
  const dialog = h("dialog", { class: "detail", "aria-labelledby": "detail-title", close: () => { dialog.remove(); current = null; } },
    h("div", { class: "detail-head" }, h("h2", { id: "detail-title" }, bdi(card.name)), close), h("div", { class: "detail-body" }, stage, side));
  document.body.append(dialog);
  dialog.showModal();
  current = { card, stage, side, shows: "" };
  refresh(card);
}

/** Keeps an open dialog current. */
onChange(({ cards }) => {
  const changed = current && cards.find(card => card.id === current.card.id);
  if (changed) refresh(changed);
});

async function refresh(card) {
  const view = current;
  view.card = card;
  const [full, path] = await Promise.all([
    details(card).catch(error => ({ error: error.message })),
    execution(card).catch(error => ({ error: error.message })),
  ]);
  if (view !== current) return;
  view.side.replaceChildren(...facts(card, full), ...draw(path));
  const shows = `${card.stage} ${card.attempt}`;
  if (view.shows !== shows) {
    view.shows = shows;
    await photos(view, card, full);
  }
}

async function photos(view, card, full) {
  if (card.status !== "enhanced" || !full.after) return view.stage.replaceChildren(single(`The uploaded photo ${card.name}`, media(card, "before")));
  const compare = h("photo-compare");
  view.stage.replaceChildren(compare);
  try {
    await compare.load(media(card, "before"), media(card, "after"));
    compare.handle.focus({ focusVisible: false });
  } catch {
    view.stage.replaceChildren(single(`The enhanced photo ${card.name}`, media(card, "after")), h("p", { class: "hint" }, "The uploaded photo can't be shown here, so there is nothing to compare."));
  }
  return undefined;
}

function single(alt, src) {
  const image = h("img", { class: "single", alt, src, error: () => image.replaceWith(h("p", { class: "empty" }, "This photo can't be shown here: it was deleted, or this browser can't decode it.")) });
  return image;
}

function facts(card, full) {
  const found = full.card ?? card;
  const price = state.config?.price_usd;
  const cost = found.reused ? "nothing: the same photo was already enhanced" : found.status === "rejected" ? "nothing" : found.task ? `1 task${found.credits ? `, ${found.credits} credits` : ""}${price ? `, about ${usd(price)}` : ""}` : found.may_have_cost ? "perhaps a task" : "nothing yet";
  const options = Object.entries(found.options).map(([name, value]) => `${name} ${value}`).join(", ");
  const rows = [
    ["Photo", [pixels(shownPixels(found)), bytes(found.size)].filter(Boolean).join(", ")],
    ["Result", found.output ? [pixels(found.output.pixels), bytes(found.output.bytes)].filter(Boolean).join(", ") : ""],
    ["Kept", full.kept],
    ["Options", options],
    ["Cost", cost],
    ["Attempt", found.attempt > 1 ? String(found.attempt) : ""],
    ["Changed", clock(found.changed)],
    ["Version", found.version],
    ["Task", found.task],
  ].filter(([, value]) => value);
  const links = [["after", "Result"], ["before", "Original"]].filter(([side]) => full[side] && download(card, side));
  return [
    h("p", { class: "detail-status", "data-tone": tone(found.stage) }, h("span", { class: "pill" }, word(found.stage)), found.code ? h("code", {}, found.code) : null),
    found.message ? h("p", { class: "message" }, found.message) : null,
    found.advice ? h("p", { class: "advice" }, found.advice) : null,
    full.error ? h("p", { class: "message" }, full.error) : null,
    h("div", { class: "buttons" }, links.map(([side, text]) => h("a", { class: "button small", href: download(card, side), download: "" }, icon("download"), text)), actionButtons(found)),
    h("dl", { class: "rows" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, bdi(value))))),
    ...metadata("Metadata of the result", full.after),
    ...metadata("Metadata of the photo", full.before),
  ].filter(Boolean);
}

function metadata(title, object) {
  const entries = Object.entries(object?.metadata ?? {});
  if (!entries.length) return [];
  return [h("details", {}, h("summary", {}, `${title} (${entries.length})`), h("dl", { class: "rows" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, bdi(name)), h("dd", {}, bdi(value))))))];
}

