// Drop photos or folders, see what they will cost, and upload them. Nothing is sent before the button is pressed.

import { post } from "./api.js";
import { $, bdi, bytes, h, icon, number, usd } from "./dom.js";
import { state } from "./feed.js";
import { isKnown, showLocal } from "./cards.js";
import { make, remember } from "./thumbnails.js";
import { toast } from "./actions.js";

const PARALLEL = 3;
const MOST = 2000;
const LISTED = 200;
const SIDES = { "1K": 1024, "4K": 4096 };
const HEAD = 16;

let entries = []; // { file, name, problem, warnings, thumbnail, ... }
let parts = null;
let running = 0;
const queue = [];
let counter = 0;

/** Builds the drop area. A read-only board has none. */
export function build() {
  const { config } = state;
  if (config.read_only) return;
  const { parameters } = config;
  const files = h("input", { type: "file", multiple: true, class: "visually-hidden", tabindex: "-1", "aria-label": "Photos", accept: "image/jpeg,image/png,image/webp,image/heic,image/heif,.heic,.heif", change: event => take([...event.target.files].map(file => ({ file, name: file.name })), event.target) });
  const folder = h("input", { type: "file", webkitdirectory: true, class: "visually-hidden", tabindex: "-1", "aria-label": "Folder", change: event => take([...event.target.files].map(file => ({ file, name: file.webkitRelativePath || file.name })), event.target) });
  const area = h("div", { class: "drop-area" }, h("span", { class: "drop-icon" }, icon("drop")),
    h("div", { class: "drop-text" }, h("p", { class: "drop-title" }, "Drop photos or folders"), h("p", { class: "hint" }, `JPEG, PNG, WebP, or HEIC, up to ${bytes(Number(parameters.MaxUploadBytes))} each`)),
    h("div", { class: "buttons" }, h("button", { class: "button primary", type: "button", click: () => files.click() }, "Choose photos"), h("button", { class: "button", type: "button", click: () => folder.click() }, "Choose folder"), files, folder));
  const select = (label, values) => { const control = h("select", { change: plan }, values.map(([value, text]) => h("option", { value }, text))); return { control, label: h("label", { class: "field" }, h("span", {}, label), control) }; };
  const steps = [["", "default"], ...[0, 0.2, 0.4, 0.6, 0.8, 1].map(value => [String(value), String(value)])];
  const stackDefault = value => (value ? `default (${value})` : "default");
  const resolution = select("Resolution", [["", stackDefault(parameters.Resolution)], ["1K", "1K"], ["4K", "4K"]]);
  const creativity = select("Creativity", steps);
  const resemblance = select("Resemblance", steps);
  const metadata = select("Metadata", [["", stackDefault(parameters.Metadata || "keep")], ["keep", "keep"], ["no-location", "without location"], ["none", "none"]]);
  const prefix = h("input", { type: "text", maxlength: 512, placeholder: "holiday/", change: plan, spellcheck: "false", autocomplete: "off" });
  const options = h("fieldset", { class: "options" }, h("legend", {}, "Options"), resolution.label, creativity.label, resemblance.label, metadata.label, h("label", { class: "field" }, h("span", {}, "Folder"), prefix));
  const tray = h("div", { class: "tray", hidden: true });
  parts = { area, tray, resolution: resolution.control, creativity: creativity.control, resemblance: resemblance.control, metadata: metadata.control, prefix };
  $("drop").append(h("div", { class: "drop" }, area, options), tray);
  listen();
}

function listen() {
  let depth = 0;
  const hasFiles = event => event.dataTransfer?.types.includes("Files");
  const mark = on => parts.area.classList.toggle("over", on);
  document.addEventListener("dragenter", event => { if (hasFiles(event)) { depth += 1; mark(true); } });
  document.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) mark(false); });
  document.addEventListener("dragover", event => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", async event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark(false);
    take(await filesOf(event.dataTransfer));
  });
}

/** The files of a drop, with those of its folders. */
async function filesOf(transfer) {
  const roots = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!roots.length) return [...transfer.files].map(file => ({ file, name: file.name }));
  const found = [];
  const walk = async entry => {
    if (found.length > MOST) return;
    if (entry.isFile) {
      const file = await new Promise(resolve => entry.file(resolve, () => resolve(null)));
      if (file) found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    } else {
      const reader = entry.createReader();
      for (;;) {
        const batch = await new Promise(resolve => reader.readEntries(resolve, () => resolve([])));
        if (!batch.length) return;
        for (const child of batch) await walk(child);
      }
    }
  };
  for (const root of roots) await walk(root);
  return found;
}

async function take(found, input) {
  if (input) input.value = "";
  const isHidden = name => name.split("/").some(part => part.startsWith("."));
  const fresh = found.filter(({ name }) => !isHidden(name)).slice(0, MOST - entries.length);
  if (fresh.length < found.length) toast(`${number(found.length - fresh.length)} files are left out: hidden files, or more than ${number(MOST)} at once.`);
  for (const { file, name } of fresh) entries.push({ file, name, problem: "", warnings: [], checked: false });
  render();
  for (const entry of fresh.length ? entries.filter(one => !one.checked) : []) {
    await inspect(entry);
    render();
  }
  plan();
}

async function inspect(entry) {
  entry.checked = true;
  const { file } = entry;
  const limit = Number(state.config.parameters.MaxUploadBytes);
  if (!file.size) entry.problem = "The file is empty.";
  else if (file.size > limit) entry.problem = `It has ${bytes(file.size)}; this stack enhances at most ${bytes(limit)}.`;
  else if (!isPhoto(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()))) entry.problem = "It is not a JPEG, PNG, WebP, or HEIC file. The stack would reject it.";
  if (entry.problem) return;
  entry.thumbnail = await make(file);
  entry.side = await longerSide(file);
  if (crypto.subtle) entry.sha256 = base64(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
}

function isPhoto(head) {
  const text = String.fromCharCode(...head);
  return text.startsWith("\xff\xd8\xff") || text.startsWith("\x89PNG\r\n\x1a\n") || (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") || text.slice(4, 8) === "ftyp";
}

/** In pixels, without decoding the photo; 0 if this browser can't read it. */
function longerSide(file) {
  return new Promise(resolve => {
    const url = URL.createObjectURL(file);
    const image = new Image();
    const end = side => { URL.revokeObjectURL(url); resolve(side); };
    image.onload = () => end(Math.max(image.naturalWidth, image.naturalHeight));
    image.onerror = () => end(0);
    image.src = url;
  });
}

const base64 = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)));

function options() {
  const found = { resolution: parts.resolution.value, creativity: parts.creativity.value, resemblance: parts.resemblance.value, metadata: parts.metadata.value };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
}

function folder() {
  const text = parts.prefix.value.trim();
  return text && !text.endsWith("/") ? `${text}/` : text;
}

const readable = () => entries.filter(entry => entry.checked && !entry.problem);
const good = () => readable().filter(entry => !entry.refusal);

let planning = 0;
/** Asks the server what the photos will cost, and which of them are already enhanced. */
async function plan() {
  const photos = readable();
  for (const entry of photos) {
    const side = SIDES[parts.resolution.value || state.config.parameters.Resolution] ?? 0;
    entry.warnings = entry.side > side ? [`The photo is larger (${number(entry.side)} pixels) than the result (${number(side)}).`] : [];
    entry.paid = false;
    entry.refusal = null; // it depends on the folder
  }
  render();
  if (!photos.length) return;
  const mine = (planning += 1);
  try {
    const found = await post("/api/plan", { ...options(), folder: folder(), photos: JSON.stringify(photos.map(entry => [entry.file.size, entry.sha256 ?? "", entry.name])) });
    if (mine !== planning) return;
    photos.forEach((entry, place) => { entry.paid = found.enhanced[place]; entry.refusal = found.problems[place]; });
  } catch (error) {
    toast(error.message, "bad");
  }
  render();
}

let frame = 0;
function render() {
  frame ||= requestAnimationFrame(() => { frame = 0; renderNow(); });
}

function renderNow() {
  const { tray } = parts;
  tray.hidden = !entries.length;
  if (!entries.length) return tray.replaceChildren();
  const photos = good();
  const tasks = photos.filter(entry => !entry.paid).length;
  const price = state.config.price_usd;
  const checking = entries.some(entry => !entry.checked);
  const cost = tasks ? `${number(tasks)} new ${tasks === 1 ? "task" : "tasks"}${price ? `, about ${usd(tasks * price)}` : ""}` : "nothing to pay";
  const list = h("ul", { class: "tray-list" }, entries.slice(0, LISTED).map(row));
  const more = entries.length > LISTED ? h("p", { class: "hint" }, `and ${number(entries.length - LISTED)} more`) : "";
  tray.replaceChildren(list, more, h("div", { class: "tray-end" },
    h("p", { class: "cost", role: "status" }, checking ? "Reading the files …" : h("strong", {}, cost), !checking && state.config.sandbox ? " · in the sandbox, nothing is paid" : ""),
    h("div", { class: "buttons" }, h("button", { class: "button", type: "button", click: clear }, "Clear"),
      h("button", { class: "button primary", type: "button", disabled: checking || !photos.length, click: start }, `Enhance ${number(photos.length)} ${photos.length === 1 ? "photo" : "photos"}`))));
  return undefined;
}

function row(entry) {
  const problem = entry.problem || entry.refusal;
  const notes = problem ? [problem] : entry.paid ? ["Already enhanced with these options: nothing is paid.", ...entry.warnings] : entry.warnings;
  return h("li", { "data-tone": problem ? "bad" : notes.length ? "warn" : "" },
    entry.thumbnail ? h("img", { src: entry.thumbnail.url, alt: "" }) : h("span", { class: "placeholder" }, icon(problem ? "alert" : "image")),
    h("span", { class: "tray-name" }, bdi(entry.name, { title: entry.name }), notes.map(note => h("span", { class: "message" }, note))),
    h("span", { class: "facts" }, bytes(entry.file.size)),
    h("button", { class: "plain", type: "button", "aria-label": `Leave out ${entry.name}`, click: () => { entries = entries.filter(one => one !== entry); plan(); } }, icon("close")));
}

function clear() {
  entries = [];
  render();
}

function start() {
  const values = options();
  for (const entry of good()) enqueue(entry, values, folder());
  clear();
}

function enqueue(entry, values, prefix) {
  const id = `local-${(counter += 1)}`;
  const upload = { id, entry, values, prefix, card: { key: entry.name, name: `${prefix}${entry.name}`, version: "", status: "", stage: "queued", local: true, size: entry.file.size, options: values, actions: [], percent: 0, changed: new Date().toISOString() } };
  upload.card.stage = "uploading";
  showLocal(id, upload.card);
  showThumbnail(upload);
  queue.push(upload);
  next();
}

function showThumbnail({ id, entry }) {
  if (!entry.thumbnail) return;
  requestAnimationFrame(() => {
    const image = document.querySelector(`[data-id="${id}"] img`);
    if (image) { image.src = entry.thumbnail.url; image.hidden = false; }
  });
}

function next() {
  while (running < PARALLEL && queue.length) {
    running += 1;
    send(queue.shift()).finally(() => { running -= 1; next(); });
  }
}

async function send(upload) {
  const { id, entry, values, prefix } = upload;
  const update = changes => { Object.assign(upload.card, changes); showLocal(id, upload.card); };
  update({ stage: "uploading", message: null, retry: null, percent: 0 });
  try {
    const query = new URLSearchParams({ ...values, folder: prefix, name: entry.name });
    const stored = await put(`/api/uploads?${query}`, entry.file, percent => update({ percent }));
    if (entry.thumbnail) remember(stored.key, stored.version, entry.thumbnail);
    update({ stage: "queued", key: stored.key, version: stored.version });
    await known(stored);
    showLocal(id, null);
  } catch (error) {
    update({ stage: "interrupted", message: error.message, retry: () => { queue.push(upload); next(); } });
  }
}

/** Resolves when the ledger has the upload, or after ten minutes. */
async function known({ key, version }) {
  const end = Date.now() + 600_000;
  while (!isKnown(key, version) && Date.now() < end) await new Promise(resolve => setTimeout(resolve, 200));
}

/** Sends a file. The server answers with lines: how much S3 has, and in the end the key and its version. */
function put(path, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const last = () => {
      const lines = request.responseText.split("\n").filter(Boolean);
      try { return JSON.parse(lines.at(-1)); } catch { return {}; }
    };
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.addEventListener("progress", () => { if (last().sent) onProgress((100 * last().sent) / file.size); });
    request.addEventListener("load", () => {
      const answer = last();
      if (answer.version) resolve(answer);
      else reject(new Error(answer.error || request.responseText.trim() || `The board's server answered ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Error("The connection to the board's server was interrupted. Nothing was stored, or the photo appears here soon.")));
    request.send(file);
  });
}
