// Thumbnails, made in this browser: from the file if it was dropped here, otherwise from the bucket. Two at a time, and
// only of cards that are visible.

import { media } from "./api.js";

const SIDE = 420;
const MOST = 400;
const PARALLEL = 2;

const made = new Map(); // thumbnails by ID, the oldest first; null for photos that this browser can't show
const files = new Map(); // thumbnails of files that were dropped here, by key and version
const waiting = new Map(); // elements by ID
let running = 0;

const name = (key, version) => `${key}\0${version}`;

/** Remembers the thumbnail of a file that was uploaded as this version of a key. */
export function remember(key, version, thumbnail) {
  files.set(name(key, version), thumbnail);
}

const found = card => made.get(card.id) ?? files.get(name(card.key, card.version));

/** Fills an image element with the thumbnail of a card, and calls `ready`, once it is made. */
export function show(image, card, ready) {
  const thumbnail = found(card);
  if (thumbnail) return put(image, thumbnail);
  if (made.has(card.id)) return undefined;
  const box = image.parentElement; // a hidden image is never visible
  box.dataset.card = card.id;
  waiting.set(card.id, { image, box, card, ready });
  observer.observe(box);
  return undefined;
}

/** Width and height of a card's photo as it is shown. The file states them before its orientation is applied. */
export function shownPixels(card) {
  const [width, height] = (card.pixels ?? "").split("x").map(Number);
  const thumbnail = found(card);
  const isTurned = thumbnail && (width - height) * (thumbnail.width - thumbnail.height) < 0;
  return isTurned ? `${height}x${width}` : card.pixels;
}

/** Forgets a card that is no longer shown. */
export function forget(id) {
  waiting.delete(id);
}

/** A thumbnail of a blob: its object URL, width, and height; null if this browser can't decode it. */
export async function make(blob) {
  try {
    const bitmap = await createImageBitmap(blob, { resizeWidth: SIDE, resizeQuality: "medium" });
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return { url: URL.createObjectURL(await canvas.convertToBlob({ type: "image/webp", quality: 0.8 })), width, height };
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

async function load({ image, card, ready }) {
  const side = card.size > 0 ? "before" : "after";
  let thumbnail = null;
  try {
    const answer = await fetch(media(card, side, true));
    const type = answer.headers.get("content-type") ?? "";
    if (answer.ok && type.startsWith("image/")) thumbnail = await make(await answer.blob());
    else answer.body?.cancel();
  } catch { /* the card keeps its placeholder */ }
  made.set(card.id, thumbnail);
  if (thumbnail) {
    put(image, thumbnail);
    ready();
  }
  if (made.size > MOST) {
    const [oldest, old] = made.entries().next().value;
    made.delete(oldest);
    if (old) URL.revokeObjectURL(old.url);
  }
}

function put(image, thumbnail) {
  image.src = thumbnail.url;
  image.hidden = false;
}
