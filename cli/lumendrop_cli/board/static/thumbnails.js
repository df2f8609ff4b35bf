// Thumbnails, made in this browser: from the file if it was dropped here, otherwise from the bucket. Two at a time, and
// only of cards that are visible.

import { named } from "./dom.js";

const SIDE = 420;
const MOST = 400;
const PARALLEL = 2;

const made = new Map(); // object URLs by ID, the oldest first; null for photos that this browser can't show
const files = new Map(); // files that were dropped here, by key and version
const waiting = new Map(); // elements by ID
let running = 0;

const name = (key, version) => `${key}\0${version}`;

/** Remembers the thumbnail of a file that was uploaded as this version of a key. */
export function remember(key, version, url) {
  files.set(name(key, version), url);
}

/** Fills an image element with the thumbnail of a card, once it is made. */
export function show(image, card) {
  const url = made.get(card.id) ?? files.get(name(card.key, card.version));
  if (url) return put(image, url);
  if (made.has(card.id)) return undefined;
  const box = image.parentElement; // a hidden image is never visible
  box.dataset.card = card.id;
  waiting.set(card.id, { image, box, card });
  observer.observe(box);
  return undefined;
}

/** Forgets a card that is no longer shown. */
export function forget(id) {
  waiting.delete(id);
}

/** A thumbnail of a blob as an object URL, or null if this browser can't decode it. */
export async function make(blob) {
  try {
    const bitmap = await createImageBitmap(blob, { resizeWidth: SIDE, resizeQuality: "medium" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return URL.createObjectURL(await canvas.convertToBlob({ type: "image/webp", quality: 0.8 }));
  } catch {
    return null;
  }
}

const observer = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    const entry = waiting.get(target.dataset.card);
    if (entry) entry.visible = isIntersecting;
  }
  next();
}, { rootMargin: "200px" });

function next() {
  if (running >= PARALLEL) return;
  const entry = [...waiting.values()].find(one => one.visible && one.image.isConnected);
  if (!entry) return;
  waiting.delete(entry.card.id);
  observer.unobserve(entry.box);
  running += 1;
  load(entry).finally(() => { running -= 1; next(); });
  next();
}

async function load({ image, card }) {
  const side = card.size > 0 ? "before" : "after";
  let url = null;
  try {
    const answer = await fetch(`/media?${named(card)}&side=${side}&thumbnail`);
    const type = answer.headers.get("content-type") ?? "";
    if (answer.ok && type.startsWith("image/")) url = await make(await answer.blob());
    else answer.body?.cancel();
  } catch { /* the card keeps its placeholder */ }
  made.set(card.id, url);
  if (url) put(image, url);
  if (made.size > MOST) {
    const [oldest, old] = made.entries().next().value;
    made.delete(oldest);
    if (old) URL.revokeObjectURL(old);
  }
}

function put(image, url) {
  image.src = url;
  image.hidden = false;
}
