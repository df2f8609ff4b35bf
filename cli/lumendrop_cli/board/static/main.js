// Starts the page: reads the stack's description, connects, and switches between the views.

import { config } from "./api.js";
import { $, clock } from "./dom.js";
import { banner, connect, onChange, state } from "./feed.js";
import * as cards from "./cards.js";
import * as drop from "./drop.js";
import * as failures from "./failures.js";
import * as figures from "./figures.js";
import * as search from "./search.js";
import { updatePause } from "./actions.js";

const VIEWS = { live: () => {}, failures: failures.show, search: search.show };

function showView() {
  const wanted = location.hash.slice(2);
  const name = Object.hasOwn(VIEWS, wanted) ? wanted : "live";
  for (const [view, show] of Object.entries(VIEWS)) {
    $(view).hidden = view !== name;
    show(view === name);
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function describe({ stack, region, sandbox, read_only: readOnly, saved }) {
  $("stack").textContent = [stack, sandbox ? "sandbox" : region, saved ? `saved ${clock(saved)}` : readOnly ? "read-only" : ""].filter(Boolean).join(" · ");
  document.title = `${stack} · Lumendrop`;
}

onChange(change => {
  figures.update();
  updatePause();
  cards.update(change);
});
addEventListener("hashchange", () => { showView(); scrollTo(0, 0); });

figures.update();
try {
  state.config = await config();
  describe(state.config);
  drop.build();
  connect();
} catch (error) {
  banner(error.message);
}
showView();
