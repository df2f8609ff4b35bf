"""Takes the README's pictures from the demo's page: `make pictures`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FOLDER = Path(__file__).parent / "images"
PHOTO = "cat.png"  # its fur shows what the enhancer adds
LARGEST = 300_000  # bytes, because GitHub loads the pictures with the README


# The same part of the photo twice, since a slider shows different parts.
SIDE_BY_SIDE = """
<style>
  body { margin: 0; font: 15px sans-serif } main { display: inline-flex; gap: 6px; background: #fff }
  figure { margin: 0; position: relative } img { display: block; width: 440px }
  figcaption { position: absolute; top: 10px; left: 10px; padding: 1px 10px; border-radius: 9px; background: #000a }
  figcaption { color: #fff }
</style>
<main>
  <figure><img src="%s"><figcaption>Before</figcaption></figure>
  <figure><img src="%s"><figcaption>After</figcaption></figure>
</main>
"""


def take(page: Page) -> list[Path]:
    """Saves the detail of one photo before and after."""
    before_after = FOLDER / "before-after.jpg"
    figure = page.locator("figure", has=page.get_by_role("heading", name=PHOTO, exact=True))
    pictures = figure.locator("[data-view=detail] img").all()
    page.set_content(SIDE_BY_SIDE % tuple(picture.get_attribute("src") for picture in pictures))
    page.locator("main").screenshot(path=before_after, type="jpeg", quality=85)
    return [before_after]


def main(index: Path) -> None:
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser_path:
        raise SystemExit(f"None of {', '.join(BROWSERS)} is on the path. Install Chromium and try again.")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 960}, color_scheme="light")
        page.goto(index.resolve().as_uri())
        pictures = take(page)
        browser.close()
    for picture in pictures:
        size = picture.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{picture} has {size:,} bytes, more than {LARGEST:,}.")
        sys.stdout.write(f"{picture}, {size:,} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
