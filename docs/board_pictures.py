"""Takes the pictures of the board for the README and docs/board.md from a running sandbox: `make pictures`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from sandbox.demo.board import board
from sandbox.demo.start import sandbox

PHOTOS = Path(__file__).parents[1] / "sandbox" / "demo" / "photos"
FOLDER = Path(__file__).parent / "images"
FIRST = ("astronaut.jpg", "coffee.webp", "cat.png")
SECOND = ("rocket.jpg", "galaxies.webp")
TASK_SECONDS = 6
WAIT_MS = 180_000


def drop(page: Page, names: tuple[str, ...]) -> None:
    page.locator("input[type=file]").first.set_input_files([PHOTOS / name for name in names])
    page.get_by_role("button", name=re.compile(r"^Enhance \d+ photo")).click()


def take(page: Page) -> list[Path]:
    """The live view while some photos are enhanced and others are not, and a comparison."""
    live, compare = FOLDER / "board.jpg", FOLDER / "board-compare.jpg"
    drop(page, FIRST)
    for name in FIRST:
        page.locator(".card[data-stage=enhanced]", has_text=name).wait_for(timeout=WAIT_MS)
    drop(page, SECOND)
    page.locator(".card[data-stage=enhancing]").first.wait_for(timeout=WAIT_MS)
    page.screenshot(path=live, type="jpeg", quality=82)
    page.locator(".card[data-stage=enhanced]", has_text="cat.png").locator(".thumbnail").click()
    page.locator("photo-compare[data-ready]").wait_for(timeout=WAIT_MS)
    page.get_by_role("slider").press("+")
    page.wait_for_timeout(500)
    page.screenshot(path=compare, type="jpeg", quality=80)
    return [live, compare]


def main() -> None:
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with (
        sandbox({}, enhancer_arguments=["--task-seconds", str(TASK_SECONDS)]) as running,
        board(running.cloud.endpoint) as address,
        sync_playwright() as playwright,
    ):
        running.cloud.warm()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
        page.goto(str(address))
        page.locator("#connection[data-state=live]").wait_for(timeout=WAIT_MS)
        for picture in take(page):
            sys.stdout.write(f"{picture}, {picture.stat().st_size:,} bytes\n")
        browser.close()


if __name__ == "__main__":
    main()
