"""Takes the pictures of the README and docs/board.md from a running sandbox and its board: `make pictures`."""

from __future__ import annotations

import base64
import os
import re
import sys
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from sandbox.demo.board import board
from sandbox.demo.start import sandbox

PHOTOS = Path(__file__).parents[1] / "sandbox" / "demo" / "photos"
FOLDER = Path(__file__).parent / "images"
LARGEST = 300_000  # bytes, because GitHub loads the pictures with the README
FIRST = ("astronaut.jpg", "coffee.webp", "cat.png")
SECOND = ("rocket.jpg", "galaxies.webp")
PHOTO = "cat.png"  # its fur shows what the enhancer adds
EYE = {"x": 0.38, "y": 0.39}  # as a share of its width and height
ZOOM = -260  # of the wheel
SIDE = 440  # pixels
TASK_SECONDS = 6
WAIT_MS = 180_000

# The same part of the photo twice, since a slider shows different parts.
SIDE_BY_SIDE = """
<style>
  body { margin: 0; font: 15px sans-serif } main { display: inline-flex; gap: 6px; background: #fff }
  figure { margin: 0; position: relative } img { display: block }
  figcaption { position: absolute; top: 10px; left: 10px; padding: 1px 10px; border-radius: 9px; background: #000a }
  figcaption { color: #fff }
</style>
<main>
  <figure><img src="data:image/png;base64,%s"><figcaption>Before</figcaption></figure>
  <figure><img src="data:image/png;base64,%s"><figcaption>After</figcaption></figure>
</main>
"""


def drop(page: Page, names: tuple[str, ...]) -> None:
    page.locator("input[type=file]").first.set_input_files([PHOTOS / name for name in names])
    page.get_by_role("button", name=re.compile(r"^Enhance \d+ photo")).click()


def card(page: Page, stage: str, name: str = "") -> Locator:
    return page.locator(f".card[data-stage={stage}]", has_text=name).first


def take(browser: Browser, page: Page) -> list[Path]:
    """The live view while some photos are enhanced and others are not, a comparison, and a detail twice."""
    live, compare, detail = (FOLDER / name for name in ("board.jpg", "board-compare.jpg", "before-after.jpg"))
    drop(page, FIRST)
    for name in FIRST:
        card(page, "enhanced", name).wait_for(timeout=WAIT_MS)
    drop(page, SECOND)
    card(page, "enhancing").wait_for(timeout=WAIT_MS)
    page.screenshot(path=live, type="jpeg", quality=82)
    card(page, "enhanced", PHOTO).locator(".thumbnail").click()
    page.locator("photo-compare[data-ready]").wait_for(timeout=WAIT_MS)
    page.get_by_role("slider").press("+")
    page.wait_for_timeout(500)
    page.screenshot(path=compare, type="jpeg", quality=80)
    before_after(browser, page).screenshot(path=detail, type="jpeg", quality=85)
    for name in SECOND:  # nothing is cut off when the sandbox closes
        card(page, "enhanced", name).wait_for(state="attached", timeout=WAIT_MS)
    return [live, compare, detail]


def before_after(browser: Browser, page: Page) -> Locator:
    """The same part of the open photo before and after."""
    slider = page.get_by_role("slider")
    slider.press("0")
    box = page.locator("photo-compare img").first.evaluate("one => one.getBoundingClientRect().toJSON()")
    x, y = (box[at] + EYE[at] * box[size] for at, size in (("x", "width"), ("y", "height")))
    page.mouse.move(x, y)
    page.mouse.wheel(0, ZOOM)
    page.evaluate("for (const one of document.querySelectorAll('.tag, .handle')) one.style.opacity = 0")
    sides = []
    for key in ("End", "Home"):
        slider.press(key)
        page.wait_for_timeout(200)
        picture = page.screenshot(clip={"x": x - SIDE / 2, "y": y - SIDE / 2, "width": SIDE, "height": SIDE})
        sides.append(base64.b64encode(picture).decode())
    shown = browser.new_page()
    shown.set_content(SIDE_BY_SIDE % tuple(sides))
    return shown.locator("main")


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
        pictures = take(browser, page)
        browser.close()
    for picture in pictures:
        size = picture.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{picture} has {size:,} bytes, more than {LARGEST:,}.")
        sys.stdout.write(f"{picture}, {size:,} bytes\n")


if __name__ == "__main__":
    main()
