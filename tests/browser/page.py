"""The board in a browser, as a person sees it."""

import os
import re
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.board.fakes import Client

SECONDS = 120
expect.set_options(timeout=SECONDS * 1000)


def unique(body: bytes) -> bytes:
    """The photo with bytes after its end that no other has, so that it is not reused."""
    return body + os.urandom(8)


class BoardPage:
    """An open page. `errors` has what the browser logged as errors."""

    def __init__(self, page: Page, board: Client, token: str) -> None:
        self.page = page
        self.board = board
        self.errors: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog of a script: {dialog.message}"))
        self.open(token)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location.get('url')}")

    def open(self, token: str) -> None:
        """Opens the printed address."""
        self.page.goto(f"http://{self.board.host}/?token={token}")
        self.ready()

    def ready(self) -> None:
        expect(self.page.locator("#connection[data-state=live]")).to_be_visible()

    def view(self, name: str) -> None:
        self.page.get_by_role("link", name=re.compile(f"^{name}")).click()

    def choose(self, files: Mapping[str, bytes]) -> None:
        """Chooses files with the file dialog."""
        payloads: Any = [{"name": name, "mimeType": "image/jpeg", "buffer": body} for name, body in files.items()]
        self.page.locator("input[type=file]").first.set_input_files(payloads)

    def drop(self, files: Mapping[str, bytes]) -> None:
        """Drags files onto the page."""
        bodies = {name: list(body) for name, body in files.items()}
        transfer = self.page.evaluate_handle(
            """bodies => { const transfer = new DataTransfer();
            for (const [name, body] of Object.entries(bodies))
              transfer.items.add(new File([new Uint8Array(body)], name));
            return transfer; }""",
            bodies,
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event(".drop-area", event, {"dataTransfer": transfer})

    def enhance(self, photos: int) -> None:
        """Presses the button that uploads what was chosen."""
        noun = "photo" if photos == 1 else "photos"
        self.page.get_by_role("button", name=f"Enhance {photos} {noun}", exact=True).click()

    def card(self, name: str, stage: str = "") -> Locator:
        cards = self.page.locator(f".card[data-stage={stage}]" if stage else ".card")
        return cards.filter(has=self.page.get_by_text(name, exact=True))

    def wait_for(self, name: str, stage: str) -> Locator:
        card = self.card(name, stage)
        expect(card).to_be_visible()
        return card
