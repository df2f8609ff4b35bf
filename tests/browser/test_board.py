"""The board in Chromium, against the sandbox."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, expect

from lumendrop_cli.stack import Options, load_stack
from tests.board.fakes import TOKEN, Client, running_board
from tests.browser.page import BoardPage, unique
from tests.e2e.photos import jpeg, portrait
from tests.e2e.pipeline import Pipeline

PHOTOS = Path(__file__).parents[2] / "sandbox" / "demo" / "photos"
FAILED_TASK = {"end": "failed", "code": "unknown_error", "seconds": 0}
WIDTHS = (375, 768, 1440)
FIGURES = Path(__file__).parents[2] / "cli/lumendrop_cli/board/static/figures.js"
TIMES = "\N{MULTIPLICATION SIGN}"


def test_three_photos_from_drop_to_slider(page: BoardPage) -> None:
    names = ["astronaut.jpg", "rocket.jpg", "coffee.webp"]
    page.drop({name: (PHOTOS / name).read_bytes() for name in names})
    tray = page.page.locator(".tray")
    expect(tray.get_by_text("3 new tasks, about 0.36 USD")).to_be_visible()
    page.enhance(3)
    for name in names:
        page.wait_for(name, "enhanced")
    page.card("coffee.webp").get_by_role("button", name=re.compile("Compare")).click()
    compare = page.page.locator("photo-compare[data-ready]")
    expect(compare).to_be_visible()
    slider = page.page.get_by_role("slider", name="Before and after")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "48")
    box = compare.locator(".stage").bounding_box()
    assert box
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20, steps=3)
    page.page.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "25")
    fitted = float(compare.get_attribute("data-scale") or 0)
    slider.press("1")
    assert float(compare.get_attribute("data-scale") or 0) == 1.0 != fitted
    slider.press("0")
    assert float(compare.get_attribute("data-scale") or 0) == fitted
    path = page.page.locator(".path")
    expect(path.get_by_text("RouteInput")).to_be_visible()
    expect(path.get_by_text("PublishEnhanced")).to_be_visible()


def test_a_photo_that_is_already_enhanced_costs_nothing(page: BoardPage) -> None:
    body = unique(jpeg())
    page.choose({"same.jpg": body})
    page.enhance(1)
    page.wait_for("same.jpg", "enhanced")
    page.choose({"copy.jpg": body})
    expect(page.page.locator(".tray").get_by_text("nothing to pay")).to_be_visible()
    page.enhance(1)
    expect(page.wait_for("copy.jpg", "enhanced").get_by_text("reused, nothing paid")).to_be_visible()


def test_warnings_before_anything_is_paid(page: BoardPage) -> None:
    files = {"large.jpg": unique(jpeg(2000, 40)), "note.jpg": b"Dear diary", "empty.jpg": b"", "cut.jpg.part": jpeg()}
    page.choose(files)
    tray = page.page.locator(".tray")
    expect(tray.get_by_text("The photo is larger (2,000 pixels) than the result (1,024).")).to_be_visible()
    expect(tray.get_by_text("It is not a JPEG, PNG, WebP, or HEIC file.")).to_be_visible()
    expect(tray.get_by_text("The file is empty.")).to_be_visible()
    expect(tray.get_by_text("The file is left out: incomplete, as its name says.")).to_be_visible()
    expect(page.page.get_by_role("button", name="Enhance 1 photo")).to_be_enabled()
    page.page.get_by_label("Resolution").select_option("4K")
    expect(tray.get_by_text("larger")).to_have_count(0)
    page.page.get_by_role("button", name="Clear").click()
    expect(tray).to_be_hidden()


def test_a_bad_file_to_its_report(page: BoardPage) -> None:
    page.choose({"cut off.jpg": jpeg()[:200]})
    page.enhance(1)
    page.wait_for("cut off.jpg", "rejected")
    page.view("Failures")
    group = page.page.get_by_role("region", name="truncated")
    expect(group.get_by_text("Upload the whole file.")).to_be_visible()
    expect(group.get_by_text("cost nothing")).to_be_visible()
    expect(group.get_by_role("button", name=re.compile("Retry"))).to_have_count(0)
    group.get_by_role("button", name="cut off.jpg").first.click()
    expect(page.page.get_by_role("dialog").get_by_text("Reported")).to_be_visible()


def test_a_failed_task_has_no_result_to_fetch_and_an_ended_path(page: BoardPage, pipeline: Pipeline) -> None:
    pipeline.plan(task=[{**FAILED_TASK, "code": "content_policy_violation"}])
    page.choose({"policy.jpg": unique(jpeg())})
    page.enhance(1)
    card = page.wait_for("policy.jpg", "failed")
    expect(card.get_by_role("button", name="Fetch the result")).to_have_count(0)
    card.get_by_role("button", name=re.compile("policy.jpg")).first.click()
    dialog = page.page.get_by_role("dialog")
    expect(dialog.locator(".path")).to_be_visible()
    expect(dialog.get_by_text("Another task would fail in the same way.")).to_have_count(1)
    text = dialog.inner_text()
    assert ("so far" in text, r"\x0a" in text) == (False, False)


def test_rows_of_the_search_are_in_the_order_that_is_shown(page: BoardPage, pipeline: Pipeline) -> None:
    for number in range(4):
        pipeline.wait_for_status(pipeline.drop(f"order/{number}{'x' * (number % 2)}.txt", b"Dear diary"), "rejected")
    page.view("Search")
    shown = page.page.locator(".rows-view .row:not([hidden])")
    expect(shown.first).to_be_visible()
    for text, count in (("order/", 4), ("x.txt", 2), ("order/", 4)):
        page.page.get_by_label("Key contains").fill(text)
        expect(shown).to_have_count(count)
        expect(shown.first).to_contain_text("order/")
        assert [one.get_attribute("aria-rowindex") for one in shown.all()] == [str(n + 1) for n in range(count)]
    tops = shown.evaluate_all("rows => rows.map(row => row.getBoundingClientRect().top)")
    assert tops == sorted(tops)


@pytest.mark.parametrize("width", [1025, 1181, 1280, 1440])
def test_no_note_of_a_figure_is_cut_off(page: BoardPage, width: int) -> None:
    page.page.set_viewport_size({"width": width, "height": 900})
    notes = page.page.locator(".tile .note")
    expect(notes).to_have_count(6)
    expect(page.page.locator(".tile", has_text="Alarms")).to_contain_text("not simulated")
    longest = max(re.findall(r'"([a-z][^"`$]*)", "(?:bad|warn|good)"', FIGURES.read_text()), key=len)
    assert len(longest) > 50
    notes.last.evaluate("(note, text) => { note.textContent = text; }", longest)
    assert notes.evaluate_all("notes => notes.every(one => one.scrollHeight <= one.clientHeight)")


def test_retry_states_its_cost_and_asks(page: BoardPage, pipeline: Pipeline) -> None:
    pipeline.plan(task=[FAILED_TASK])
    page.choose({"again.jpg": unique(jpeg())})
    page.enhance(1)
    card = page.wait_for("again.jpg", "failed")
    card.get_by_role("button", name=re.compile("Retry")).click()
    dialog = page.page.get_by_role("dialog")
    expect(dialog.get_by_text("This pays for 1 new task, about 0.12 USD.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.page.keyboard.press("Escape")
    expect(page.card("again.jpg", "failed")).to_be_visible()
    card.get_by_role("button", name=re.compile("Retry")).click()
    dialog.get_by_role("button", name="Pay and send").click()
    page.wait_for("again.jpg", "enhanced")


def test_a_rotated_photo_has_the_size_that_is_shown(page: BoardPage, pipeline: Pipeline) -> None:
    pipeline.plan(task=[FAILED_TASK])
    for stage in ("failed", "enhanced"):
        upload = pipeline.drop(f"rotated-{stage}.jpg", unique(portrait()))
        expect(page.wait_for(upload.key, stage)).to_contain_text(f"64 {TIMES} 96")
    page.choose({"rotated-here.jpg": unique(portrait())})
    page.enhance(1)
    card = page.wait_for("rotated-here.jpg", "enhanced")
    expect(card).to_contain_text(f"64 {TIMES} 96 → 683 {TIMES} 1024")
    card.get_by_text("rotated-here.jpg").click()
    expect(page.page.get_by_role("dialog").get_by_text(f"64 {TIMES} 96")).to_be_visible()


def test_pause_and_resume(page: BoardPage) -> None:
    page.page.get_by_role("button", name="Pause").click()
    page.page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.page.locator(".tile").filter(has_text="Queue")).to_contain_text("paused")
    page.page.get_by_role("button", name="Resume").click()
    page.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.page.get_by_role("button", name="Pause")).to_be_visible()


def test_fifty_photos_at_once(page: BoardPage) -> None:
    page.choose({f"fifty-{number:02}.jpg": unique(jpeg()) for number in range(50)})
    page.enhance(50)
    enhanced = page.page.locator(".card[data-stage=enhanced]").filter(has_text="fifty-")
    expect(enhanced).to_have_count(50, timeout=300_000)


def test_a_reload_in_the_middle(page: BoardPage, pipeline: Pipeline) -> None:
    with pipeline.event_source_disabled():
        page.choose({"reload.jpg": unique(jpeg())})
        page.enhance(1)
        page.wait_for("reload.jpg", "queued")
        page.page.reload()
        page.ready()
    page.wait_for("reload.jpg", "enhanced")


def test_a_restart_of_the_server_in_the_middle(context: BrowserContext, stack: Any, options: Options) -> None:
    with running_board(stack, options=options) as client:
        page = BoardPage(context.new_page(), client, TOKEN)
        page.choose({"restart.jpg": unique(jpeg())})
        page.enhance(1)
    expect(page.page.locator("#banner")).to_contain_text("does not answer")
    page.page.set_viewport_size({"width": 375, "height": 800})
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # with the word "Reconnecting"
    again = load_stack(SimpleNamespace(obj=options))  # type: ignore[arg-type]
    with running_board(again, options=options, port=client.port, token="another"):
        expect(page.page.locator("#banner")).to_contain_text("Open the address that it has printed")
        other = context.new_page()
        other.goto(f"http://{client.host}/?token=another")
        page.ready()
        if page.card("restart.jpg", "interrupted").count():
            page.page.get_by_role("button", name="Upload again").click()
        page.wait_for("restart.jpg", "enhanced")


def test_a_photo_dropped_with_the_aws_cli(page: BoardPage, pipeline: Pipeline) -> None:
    file = pipeline.file(unique((PHOTOS / "cat.png").read_bytes()))
    pipeline.aws("s3", "cp", "--quiet", str(file), f"s3://{pipeline.outputs['InputBucketName']}/cli/cat.png")
    card = page.wait_for("cli/cat.png", "enhanced")
    expect(card.locator("img")).to_be_visible()


def test_with_the_keyboard_only(page: BoardPage) -> None:
    page.choose({"keyboard.jpg": unique(jpeg())})
    button = page.page.get_by_role("button", name="Enhance 1 photo")
    expect(button).to_be_enabled()
    _tab_to(page, "Enhance 1 photo")
    page.page.keyboard.press("Enter")
    page.wait_for("keyboard.jpg", "enhanced")
    _tab_to(page, "keyboard.jpg: Enhanced. Compare")
    page.page.keyboard.press("Enter")
    slider = page.page.get_by_role("slider")
    expect(slider).to_be_focused()
    page.page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % before")
    page.page.keyboard.press("Escape")
    expect(page.page.get_by_role("dialog")).to_have_count(0)
    page.view("Search")
    grid = page.page.get_by_role("grid")
    expect(grid.get_by_role("row").first).to_be_visible()
    grid.focus()
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    expect(page.page.get_by_role("dialog")).to_be_visible()


def _tab_to(page: BoardPage, name: str) -> None:
    for _ in range(200):
        page.page.keyboard.press("Tab")
        text = page.page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
        )
        if text == name:
            return
    raise AssertionError(f"Tab does not reach {name!r}")


HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "</script><script>alert(2)</script>.jpg",
    "javascript:alert(3)//.jpg",
    "\u202egpj.exe",
    "a&quot;onmouseover=alert(4)&quot;.jpg",
    "${alert(5)}{{7*7}}.jpg",
    "x" * 1020 + ".jpg",
]


def test_hostile_keys_and_metadata_are_text(page: BoardPage, pipeline: Pipeline) -> None:
    metadata = {"note": "<script>alert(6)</script>", "link": "javascript:alert(7)"}
    uploads = [pipeline.drop(key, jpeg(), Metadata=metadata) for key in HOSTILE]
    bad = pipeline.drop("<b>bad</b>.jpg", b"<html><script>alert(8)</script>", ContentType="text/html")
    for upload in [*uploads, bad]:
        pipeline.wait_for_status(upload, "enhanced", "rejected")
    for key in HOSTILE[:3]:
        page.card(key).get_by_role("button", name=re.compile("Compare")).click()
        expect(page.page.locator("photo-compare[data-ready]")).to_be_visible()
        for summary in page.page.locator("summary").all():
            summary.click()
        page.page.keyboard.press("Escape")
    for view in ("Failures", "Search", "Live"):
        page.view(view)
        page.page.wait_for_timeout(500)
    assert page.page.locator("main img[onerror], main script, main b").count() == 0
    assert page.page.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_size_and_scheme_is_accessible(
    browser: Browser, board: Client, pipeline: Pipeline, shots: Path | None, width: int, scheme: Any
) -> None:
    if not any(upload.key == "show/cat.png" for upload in pipeline.rows()):
        for name in ("cat.png", "coffee.webp", "rocket.jpg"):
            pipeline.wait_for_status(pipeline.drop(f"show/{name}", (PHOTOS / name).read_bytes()), "enhanced")
        pipeline.wait_for_status(pipeline.drop("show/note.jpg", b"Dear diary"), "rejected")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = BoardPage(context.new_page(), board, TOKEN)
    page.wait_for("show/cat.png", "enhanced")
    for view in ("Live", "Failures", "Search"):
        page.view(view)
        page.page.wait_for_timeout(600)
        _check(page, shots, f"{view.lower()}-{width}-{scheme}")
    page.view("Live")
    page.card("show/cat.png").get_by_role("button", name=re.compile("Compare")).click()
    expect(page.page.locator("photo-compare[data-ready]")).to_be_visible()
    _check(page, shots, f"compare-{width}-{scheme}")
    running = page.page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
    assert running == 0  # reduced motion
    assert page.errors == []
    context.close()


def _check(page: BoardPage, shots: Path | None, name: str) -> None:
    """Nothing is wider than the window, and axe finds no violation."""
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    if shots:
        page.page.screenshot(path=shots / f"{name}.png")
    results = Axe().run(page.page)
    assert results.violations_count == 0, results.generate_report()
