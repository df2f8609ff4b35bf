"""The saved board in Chromium, from a file: it shows what the run did, requests nothing, and runs nothing hostile."""

import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.demo.images import load
from sandbox.demo.saved_board import SavedBoard, record
from tests.browser.page import SECONDS, unique
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

HOSTILE = "saved/<img src=x onerror=alert(1)>\u202e.jpg"


@pytest.fixture(scope="module")
def saved(pipeline: Pipeline, stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved board of a photo, of one that was rejected, and of one with a hostile name and metadata."""
    photo = pipeline.drop("saved/photo.jpg", unique(jpeg()))
    bad = pipeline.drop("saved/note.jpg", b"Dear diary")
    hostile = pipeline.drop(HOSTILE, unique(jpeg()), Metadata={"note": "</script><script>alert(2)</script>"})
    pipeline.wait([photo, bad, hostile])
    folder = tmp_path_factory.mktemp("saved")
    (folder / "photo").write_bytes(jpeg(960, 640))
    image = load(folder / "photo")
    board = SavedBoard(record(stack))
    kept = {"date": "2026-01-31 12:00:00", "camera": "<b>Camera</b>"}
    for upload in (photo, hostile):
        board.add(upload.version_id, image.resize(0.1), image, upload.key, kept)
    return board.write(folder)


@pytest.mark.parametrize("width", [375, 1440])
def test_a_saved_board_shows_the_run_and_requests_nothing(context: BrowserContext, saved: Path, width: int) -> None:
    errors: list[str] = []
    requests: list[str] = []
    page = _opened(context, saved, width, errors, requests)
    card = page.locator(".card[data-stage=enhanced]").filter(has=page.get_by_text("saved/photo.jpg", exact=True))
    expect(card.locator("img")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert Axe().run(page).violations_count == 0
    card.get_by_role("button", name=re.compile("Compare")).click()
    slider = page.get_by_role("slider", name="Before and after")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % before")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("camera <b>Camera</b>")).to_be_visible()
    expect(dialog.get_by_text("PublishEnhanced")).to_be_visible()
    expect(dialog.get_by_role("link", name="Result")).to_have_attribute("href", "./saved/photo.jpg")
    expect(dialog.get_by_role("button", name="Retry")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("link", name=re.compile("^Failures")).click()
    expect(page.get_by_role("region", name="not_an_image")).to_be_visible()
    page.get_by_role("link", name="Search").click()
    page.get_by_label("Key contains").fill("saved/<img")
    expect(page.get_by_text("1 upload, the last change first")).to_be_visible()
    page.locator(".row").first.click()
    expect(dialog.get_by_role("slider")).to_be_visible()
    assert page.locator("main img[onerror], main script, main b").count() == 0
    assert errors == []
    assert requests == [saved.as_uri()]


def _opened(context: BrowserContext, saved: Path, width: int, errors: list[str], requests: list[str]) -> Page:
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.set_viewport_size({"width": width, "height": 900})
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: _is_local(request.url) or requests.append(request.url))
    page.goto(saved.as_uri())
    expect(page.locator("#connection-text")).to_have_text("Saved")
    return page


def _is_local(url: str) -> bool:
    """Whether it is part of the page."""
    return url.startswith(("data:", "blob:"))
