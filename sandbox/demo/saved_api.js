// The functions of the board's api.js for a saved board: everything is in the page, and nothing is requested.

const saved = JSON.parse(document.getElementById("saved").textContent);
const byId = new Map(saved.uploads.map(one => [one.card.id, one]));
const cards = saved.uploads.map(one => one.card);

export const config = async () => saved.config;
export const details = async card => byId.get(card.id);
export const execution = async card => byId.get(card.id).execution;
export const post = async () => { throw new Error("A saved board changes nothing."); };

export async function search(query, onPage = () => {}) {
  const wanted = new URLSearchParams(query);
  const [contains, folder, day, statuses] = [wanted.get("text") ?? "", wanted.get("folder") ?? "", wanted.get("day") ?? "", wanted.getAll("status")];
  const found = cards.filter(card => card.key.includes(contains) && card.key.startsWith(folder) && card.changed.startsWith(day) && (!statuses.length || statuses.includes(card.status)));
  onPage(found);
  return { cards: found, more: false };
}

/** A data URL; empty if the page has no picture of this photo. */
export const media = (card, side) => byId.get(card.id).pictures?.[side] ?? "data:,";

/** The file next to the page, if there is one. */
export const download = (card, side) => (side === "after" ? byId.get(card.id).file : "");

/** What an EventSource sends: one snapshot. */
export function events() {
  const source = new EventTarget();
  const snapshot = JSON.stringify({ figures: saved.figures, cards });
  setTimeout(() => {
    source.dispatchEvent(new Event("open"));
    source.dispatchEvent(new MessageEvent("snapshot", { data: snapshot }));
  });
  return Object.assign(source, { label: "Saved", close: () => {} });
}
