// Builds elements. Everything from outside becomes text: there is no function here that reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties that are functions become listeners, the others attributes. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** A text of unknown direction, which can't reorder the text around it. */
export function bdi(text, properties = {}) {
  return h("bdi", properties, text);
}

const ICONS = {
  drop: "M12 3v11m0 0 4-4m-4 4-4-4M4 16v3a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.500l4.500 4.500L19 7",
  alert: "M12 8v5m0 3.500v.01M10.300 4.200 2.600 17.500A2 2 0 0 0 4.300 20.500h15.400a2 2 0 0 0 1.700-3L13.700 4.200a2 2 0 0 0-3.400 0Z",
  image: "M4 5h16v14H4zM4 16l4.500-4.500 4 4 3-3L20 17M9 9.500v.01",
  link: "M14 4h6v6M20 4l-9 9M19 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1h5",
  download: "M12 4v11m0 0 4-4m-4 4-4-4M5 20h14",
};

/** A decorative icon. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

export const $ = id => document.getElementById(id);

const NUMBER = new Intl.NumberFormat("en");
export const number = value => NUMBER.format(value);
export const usd = value => `${new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(value)} USD`;

export function bytes(value) {
  if (value === null || value === undefined) return "";
  if (value < 1000) return `${value} B`;
  const units = ["kB", "MB", "GB"];
  let unit = -1;
  do { value /= 1000; unit += 1; } while (value >= 999.5 && unit < 2);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function seconds(value) {
  if (value < 0.95) return `${Math.max(0, Math.round(value * 1000))} ms`;
  if (value < 90) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 5400) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${(value / 3600).toFixed(1)} h`;
}

export const pixels = text => (text ? text.replace("x", " × ") : "");

export function clock(value) {
  const time = new Date(value);
  if (Number.isNaN(time.getTime())) return "";
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString("en", { hour12: false }) : time.toLocaleString("en", { dateStyle: "medium", timeStyle: "short", hour12: false });
}

let announceTimer = 0;
/** Tells screen readers what has changed, at most once a second. */
export function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => { $("announcer").textContent = text; }, 1000);
}
