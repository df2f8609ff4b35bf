// Buttons that run commands of the CLI. The command's own question is shown first, with what it costs.

import { post } from "./api.js";
import { $, h } from "./dom.js";
import { state } from "./feed.js";

const LABELS = { retry: "Retry …", fetch: "Fetch the result", stop: "Stop …" };
const YES = { retry: "Pay and send", "retry-code": "Pay and send", fetch: "Fetch", stop: "Stop", pause: "Pause", resume: "Resume" };

/** The buttons of an upload; none if the board is read-only. */
export function actionButtons(card) {
  if (state.config?.read_only !== false) return [];
  const given = { key: card.key, version: card.version };
  return (card.actions ?? []).map(action => h("button", { class: "button small", type: "button", "aria-label": `${LABELS[action]} ${card.name}`, click: event => run(event.currentTarget, action, given) }, LABELS[action]));
}

/** A button for all failures with a code. */
export function retryAllButton(code, count) {
  if (state.config?.read_only !== false) return null;
  return h("button", { class: "button small", type: "button", click: event => run(event.currentTarget, "retry-code", { code }) }, `Retry all ${count} …`);
}

/** Runs an action after its question was answered with yes, and shows what the command prints. */
export async function run(button, action, given = {}) {
  button.disabled = true;
  try {
    let answer = await post("/api/actions", { action, ...given });
    while (answer.question) {
      if (!(await ask(answer.question, YES[action] ?? "Yes"))) return;
      answer = await post("/api/actions", { action, ...given, confirmed: answer.question });
    }
    toast(answer.lines.join("\n") || "Done.");
  } catch (error) {
    toast(error.message, "bad");
  } finally {
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

/** Asks; the safe answer has the focus. */
export function ask(question, yes) {
  return new Promise(resolve => {
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title", close: () => { dialog.remove(); resolve(dialog.returnValue === "yes"); } },
      h("h2", { id: "ask-title" }, "Please confirm"),
      h("p", { class: "question" }, question),
      h("div", { class: "buttons" },
        h("button", { class: "button", type: "button", autofocus: true, click: () => dialog.close("no") }, "Cancel"),
        h("button", { class: "button primary", type: "button", click: () => dialog.close("yes") }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows a message for some seconds. */
export function toast(text, tone = "") {
  const box = h("div", { class: "toast", role: "status", "data-tone": tone }, h("p", {}, text), h("button", { class: "plain", type: "button", "aria-label": "Close this message", click: () => box.remove() }, "×"));
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  setTimeout(() => box.remove(), 12000);
}

/** The button that pauses and resumes the stack. */
export function updatePause() {
  const button = $("pause");
  const source = state.figures.event_source;
  button.hidden = !source || state.config?.read_only !== false;
  if (!source) return;
  button.textContent = source.paused ? "Resume" : "Pause";
  button.classList.toggle("primary", source.paused);
}

$("pause").addEventListener("click", event => run(event.currentTarget, state.figures.event_source?.paused ? "resume" : "pause"));
