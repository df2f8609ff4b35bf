// <photo-compare>: two images of the same photo, one over the other, with a divider, zoom, and panning.
// Keyboard, on the divider: arrows move it, + and - zoom, 0 fits, 1 shows each pixel, Shift and arrows pan.

import { h } from "./dom.js";

const MOST = 16;
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

class PhotoCompare extends HTMLElement {
  #split = 0.5;
  #scale = 1;
  #x = 0;
  #y = 0;
  #pointers = new Map();
  #size = { width: 1, height: 1 };
  #moved = false;

  /** Shows two images; `labels` are their names. Resolves when both are decoded, and throws if one can't be shown. */
  async load(before, after, labels = ["Before", "After"]) {
    this.before = h("img", { alt: labels[0], draggable: "false" });
    this.after = h("img", { alt: labels[1], draggable: "false" });
    this.clip = h("div", { class: "clip" }, this.before);
    this.handle = h("div", { class: "handle", role: "slider", tabindex: "0", "aria-label": "Before and after", "aria-valuemin": "0", "aria-valuemax": "100" }, h("span", { class: "grip", "aria-hidden": "true" }, "‹ ›"));
    this.stage = h("div", { class: "stage" }, this.after, this.clip, h("span", { class: "tag left" }, labels[0]), h("span", { class: "tag right" }, labels[1]), this.handle);
    this.level = h("output", { class: "level" });
    const button = (text, label, run) => h("button", { class: "button small", type: "button", "aria-label": label, click: run }, text);
    this.replaceChildren(this.stage, h("div", { class: "tools" },
      button("−", "Zoom out", () => this.zoom(1 / 1.5)), this.level, button("+", "Zoom in", () => this.zoom(1.5)),
      button("Fit", "Fit the photo to the window", () => this.fit()), button("100 %", "Show each pixel", () => this.actual())));
    this.#listen();
    this.before.src = before;
    this.after.src = after;
    await Promise.all([this.before.decode(), this.after.decode()]);
    this.#size = { width: this.after.naturalWidth, height: this.after.naturalHeight };
    for (const image of [this.before, this.after]) {
      image.style.setProperty("width", `${this.#size.width}px`);
      image.style.setProperty("height", `${this.#size.height}px`);
    }
    new ResizeObserver(() => (this.isFitted ? this.fit() : this.#draw())).observe(this.stage);
    this.fit();
    this.dataset.ready = "";
  }

  get #box() { return this.stage.getBoundingClientRect(); }
  get #pixel() { return 1 / window.devicePixelRatio; }
  get #fitted() { return Math.min(this.#box.width / this.#size.width, this.#box.height / this.#size.height); }

  /** Shows the whole photo. */
  fit() {
    this.isFitted = true;
    this.#scale = this.#fitted;
    this.#draw();
  }

  /** Shows each pixel of the result as one pixel of the screen. */
  actual() {
    this.zoom(this.#pixel / this.#scale);
  }

  /** Zooms by a factor around a point of the stage, by default its center. */
  zoom(factor, x = this.#box.width / 2, y = this.#box.height / 2) {
    const scale = clamp(this.#scale * factor, Math.min(this.#fitted, this.#pixel), MOST);
    this.#x = x - ((x - this.#x) * scale) / this.#scale;
    this.#y = y - ((y - this.#y) * scale) / this.#scale;
    this.#scale = scale;
    this.isFitted = false;
    this.#draw();
  }

  #pan(x, y) {
    this.#x += x;
    this.#y += y;
    this.isFitted = false;
    this.#draw();
  }

  #move(split) {
    this.#split = clamp(split, 0, 1);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#box;
    const place = (at, room, size) => (size <= room ? (room - size) / 2 : clamp(at, room - size, 0));
    this.#x = place(this.#x, width, this.#size.width * this.#scale);
    this.#y = place(this.#y, height, this.#size.height * this.#scale);
    const transform = `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    this.before.style.setProperty("transform", transform);
    this.after.style.setProperty("transform", transform);
    this.stage.style.setProperty("--split", `${100 * this.#split}%`);
    const percent = Math.round(100 * this.#split);
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent} % before`);
    this.level.textContent = `${Math.round((100 * this.#scale) / this.#pixel)} %`;
    this.dataset.scale = this.#scale.toFixed(4);
  }

  #listen() {
    this.handle.addEventListener("keydown", event => this.#key(event));
    this.stage.addEventListener("wheel", event => {
      event.preventDefault();
      const box = this.#box;
      this.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    this.stage.addEventListener("pointerdown", event => {
      this.stage.setPointerCapture(event.pointerId);
      this.#moved = false;
      const isZoomed = this.#scale > this.#fitted * 1.001;
      const mode = this.handle.contains(event.target) || !isZoomed ? "split" : "pan";
      this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, mode });
      if (mode === "split") this.#follow(event);
      this.handle.focus({ preventScroll: true, focusVisible: false });
      event.preventDefault();
    });
    this.stage.addEventListener("pointermove", event => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, event => this.#pointers.delete(event.pointerId));
    this.stage.addEventListener("dblclick", event => {
      const box = this.#box;
      if (this.isFitted) this.zoom(this.#pixel / this.#scale, event.clientX - box.left, event.clientY - box.top);
      else this.fit();
    });
  }

  #drag(event) {
    const last = this.#pointers.get(event.pointerId);
    if (!last) return;
    if (this.#pointers.size === 2) this.#pinch(event, last);
    else if (last.mode === "split") this.#follow(event);
    else this.#pan(event.clientX - last.x, event.clientY - last.y);
    last.x = event.clientX;
    last.y = event.clientY;
  }

  #pinch(event, last) {
    const other = [...this.#pointers.entries()].find(([id]) => id !== event.pointerId)[1];
    const distance = (x, y) => Math.hypot(x - other.x, y - other.y) || 1;
    const box = this.#box;
    this.zoom(distance(event.clientX, event.clientY) / distance(last.x, last.y), (event.clientX + other.x) / 2 - box.left, (event.clientY + other.y) / 2 - box.top);
  }

  #follow(event) {
    const box = this.#box;
    this.#move((event.clientX - box.left) / box.width);
  }

  #key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && event.shiftKey) this.#pan(-60 * arrow[0], -60 * arrow[1]);
    else if (arrow) this.#move(this.#split + 0.02 * (arrow[0] || -arrow[1]));
    else if (event.key === "Home") this.#move(0);
    else if (event.key === "End") this.#move(1);
    else if (event.key === "PageUp") this.#move(this.#split + 0.1);
    else if (event.key === "PageDown") this.#move(this.#split - 0.1);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.actual();
    else return;
    event.preventDefault();
  }
}

customElements.define("photo-compare", PhotoCompare);
