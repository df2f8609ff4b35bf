"""The saved board is one file that makes no request, and shows names and metadata as text.

tests/browser/test_saved_board.py opens it.
"""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pyvips

from lumendrop_cli.board.server import STATIC
from sandbox.demo import saved_board
from sandbox.demo.saved_board import SavedBoard


def noise(width: int, height: int) -> pyvips.Image:
    bands = [pyvips.Image.gaussnoise(width, height, sigma=40, mean=128, seed=seed) for seed in (1, 2, 3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def recorded(*keys: str) -> dict[str, Any]:
    uploads = [{"card": {"key": key, "version": key}, "kept": "exif", "execution": {}} for key in keys]
    return {"config": {}, "figures": {}, "uploads": uploads}


class Elements(HTMLParser):
    """Every start tag with its attributes, and what each script has inside."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.all and self.all[-1][0] == "script":
            self.scripts[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]

    @property
    def saved(self) -> Any:
        return json.loads(self.scripts[0])


@pytest.fixture
def html(tmp_path: Path) -> str:
    board = SavedBoard(recorded("a/photo.jpg", "notes.txt"))
    small = noise(300, 200)
    kept = {"date": "2015-02-11 18:03:42", "camera": "Canon EOS R5"}
    board.add("a/photo.jpg", small, small.resize(1024 / 300), "a/photo.jpg", kept)
    board.add("notes.txt", None, None)
    return board.write(tmp_path).read_text(encoding="utf-8")


def test_the_page_is_self_contained(html: str) -> None:
    elements = Elements(html)
    without_data = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|[\"'(]/[a-z]", without_data)
    assert not {"iframe", "object"} & {tag for tag, _ in elements.all}
    assert all("src" not in script for script in elements.named("script"))
    assert all(str(link["href"]).startswith("data:") for link in elements.named("link"))
    [policy] = [str(one["content"]) for one in elements.named("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]


def test_the_page_has_every_module_of_the_board_and_no_relative_import(html: str) -> None:
    imports = json.loads(Elements(html).scripts[1])["imports"]
    assert imports.keys() == {f"board/{path.name}" for path in STATIC.glob("*.js")}
    modules = [base64.b64decode(url.partition(",")[2]).decode() for url in imports.values()]
    assert not [module for module in modules if re.search(r'(from|import) "\.', module)]
    assert not [module for module in modules if "EventSource(" in module]


def test_the_saved_functions_are_those_of_the_board() -> None:
    def exported(text: str) -> set[str]:
        return set(re.findall(r"^export (?:async )?(?:const|function) (\w+)", text, re.MULTILINE))

    api, saved = (STATIC / "api.js").read_text(), Path(saved_board.__file__).with_name("saved_api.js").read_text()
    assert exported(api) == exported(saved)


def test_an_upload_has_its_pictures_its_file_and_what_was_kept(html: str) -> None:
    photo, note = Elements(html).saved["uploads"]
    assert {side: url[:23] for side, url in photo["pictures"].items()} == dict.fromkeys(
        ("before", "after"), "data:image/webp;base64,"
    )
    assert (photo["file"], photo["kept"]) == ("./a/photo.jpg", "date 2015-02-11 18:03:42; camera Canon EOS R5")
    assert (note["pictures"], note["file"], note["kept"]) == ({}, "", "exif")


@pytest.mark.parametrize(
    "key", ['"><script>alert(1)</script>.jpg', "javascript:alert(1).jpg", "100% & <b>.jpg", "größe 🦊?#x.jpg", "]]>-->"]
)
def test_names_are_data(tmp_path: Path, key: str) -> None:
    board = SavedBoard(recorded(key))
    board.add(key, None, None, key)
    elements = Elements(board.write(tmp_path).read_text(encoding="utf-8"))
    assert len(elements.scripts) == 3
    assert not elements.named("b")
    [upload] = elements.saved["uploads"]
    assert upload["card"]["key"] == key
    assert unquote(upload["file"]) == f"./{key}"
    assert not set(upload["file"]) & set('"<>?#')


def test_large_photos_are_shrunk_for_the_page(tmp_path: Path) -> None:
    board = SavedBoard(recorded("a.jpg"))
    board.add("a.jpg", noise(2000, 1500), None)
    assert _sizes(board.write(tmp_path)) == [(1600, 1200)]


def test_the_size_of_the_page_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_board, "PAGE_BYTES", 1_000_000)
    keys = [f"{number}.jpg" for number in range(20)]
    board = SavedBoard(recorded(*keys))
    photo = noise(800, 600)
    for key in keys:
        board.add(key, photo, photo)
    page = board.write(tmp_path)
    assert page.stat().st_size < 2_000_000
    assert set(_sizes(page)) == {(640, 480)}
    assert len(Elements(page.read_text()).saved["uploads"]) == 20


def _sizes(page: Path) -> list[tuple[int, int]]:
    """Width and height of each picture of a page."""
    uploads = Elements(page.read_text()).saved["uploads"]
    urls = [url for upload in uploads for url in upload.get("pictures", {}).values()]
    images = [pyvips.Image.new_from_buffer(base64.b64decode(url.partition(",")[2]), "") for url in urls]
    return [(image.width, image.height) for image in images]
