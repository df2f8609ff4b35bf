// What the page reads and does, over the board's server. A saved board has a module with the same functions instead.

/** The answer of the board's server as JSON. Throws an Error with the server's text. */
async function call(path, options) {
  let answer;
  try { answer = await fetch(path, options); } catch { throw new Error("The board's server does not answer. Start it again with `lumendrop board`."); }
  const type = answer.headers.get("content-type") ?? "";
  const body = type.startsWith("application/json") ? await answer.json() : { error: (await answer.text()).trim() };
  if (!answer.ok) throw new Error(body.error || `The board's server answered ${answer.status}.`);
  return body;
}

/** The uploads of a search: `onPage` gets all so far after each page. Resolves to them and whether there are more. */
export async function search(query, onPage = () => {}) {
  const answer = await fetch(`/api/search?${query}`);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `The board's server answered ${answer.status}.`);
  const cards = [];
  let more = false;
  for await (const line of lines(answer.body)) {
    if (line.error) throw new Error(line.error);
    more = line.more ?? more;
    if (line.cards) {
      for (const card of line.cards) cards.push(card);
      onPage(cards);
    }
  }
  return { cards, more };
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

export const post = (path, body) => call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** The query that names an upload. */
const named = card => `key=${encodeURIComponent(card.key)}&version=${encodeURIComponent(card.version)}`;

/** What the page knows about the stack. */
export const config = () => call("/api/config");

/** An upload in full: its card, and the metadata of its photo and of its result. */
export const details = card => call(`/api/upload?${named(card)}`);

/** The execution of an upload, with the states that it entered. */
export const execution = card => call(`/api/execution?${named(card)}`);

/** The address of an upload's photo ("before") or result ("after"). A thumbnail costs the server at most one read. */
export const media = (card, side, isThumbnail = false) => `/media?${named(card)}&side=${side}${isThumbnail ? "&thumbnail" : ""}`;

/** The address that downloads it. */
export const download = (card, side) => `${media(card, side)}&download`;

/** The events of the server: a snapshot, then changes. */
export const events = () => new EventSource("/api/events");
