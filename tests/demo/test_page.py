"""The page is one file, needs no network, escapes all names, and has a slider for each photo."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import pyvips

from sandbox.demo import page
from sandbox.demo.images import Comparison
from sandbox.demo.page import Outcome, Writer, detail_view, most_detailed, size_text


def noise(width: int, height: int) -> pyvips.Image:
    bands = [pyvips.Image.gaussnoise(width, height, sigma=40, mean=128, seed=seed) for seed in (1, 2, 3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def enhanced(folder: Path, key: str = "a/photo.jpg") -> Outcome:
    return Outcome(
        key,
        "enhanced",
        original=folder / "original",
        seconds=4.25,
        polls=2,
        result=folder / key,
        options={"resolution": "1K"},
        comparison=Comparison((300, 200), (1024, 683), 2.345),
        kept={"date": "2015-02-11 18:03:42", "camera": "Canon EOS R5", "location": "28.56194, -80.57736"},
    )


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in {"script", "style"}:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture
def html(tmp_path: Path) -> str:
    writer = Writer(tmp_path, expected=1)
    small = noise(300, 200)
    writer.add(enhanced(tmp_path), small, small.resize(1024 / 300))
    report = tmp_path / "errors/notes.txt.json"
    writer.add(Outcome("notes.txt", "rejected", tmp_path / "x", report=report, reason="Not an image."))
    return writer.write().read_text(encoding="utf-8")


def test_shows_before_and_after_under_a_slider_whole_and_in_detail(html: str) -> None:
    elements = Elements(html)
    sliders = [one for one in elements.named("input") if one["type"] == "range"]
    assert len(sliders) == 2
    assert all(slider["aria-label"] for slider in sliders)
    assert [image["alt"] for image in elements.named("img")] == ["a/photo.jpg before", "a/photo.jpg after"] * 2
    assert [one["data-view"] for one in elements.named("div") if one.get("class") == "stage"] == ["whole", "detail"]


def test_the_page_is_self_contained(html: str) -> None:
    elements = Elements(html)
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert not {"link", "iframe", "object"} & {tag for tag, _ in elements.all}
    assert all("src" not in script for script in elements.named("script"))
    assert all(str(image["src"]).startswith("data:image/webp;base64,") for image in elements.named("img"))
    [policy] = [one["content"] for one in elements.named("meta") if "http-equiv" in one]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_shows_the_outcome_of_each_upload(html: str) -> None:
    text = " ".join(Elements(html).text.split())
    sizes = f"{size_text((300, 200))} → {size_text((1024, 683))}"
    for expected in ("2 uploads: 1 enhanced, 1 rejected.", sizes, "2.3", "4.2 s, 2 polls", "resolution 1K"):
        assert expected in text
    assert "rejected: Not an image." in text


def test_links_to_results_and_reports(html: str) -> None:
    assert [link["href"] for link in Elements(html).named("a")] == ["./a/photo.jpg", "./errors/notes.txt.json"]


@pytest.mark.parametrize(
    "key", ['"><script>alert(1)</script>.jpg', "javascript:alert(1).jpg", "100% & <b>.jpg", "größe 🦊?#x.jpg"]
)
def test_names_are_escaped(tmp_path: Path, key: str) -> None:
    writer = Writer(tmp_path, expected=1)
    small = noise(300, 200)
    writer.add(enhanced(tmp_path, key), small, small.resize(1024 / 300))
    elements = Elements(writer.write().read_text(encoding="utf-8"))
    assert key in elements.text
    assert len(elements.named("script")) == 1
    assert not elements.named("b")
    [link] = elements.named("a")
    assert unquote(str(link["href"])) == f"./{key}"
    assert not set(str(link["href"])) & set('"<>?#')


def test_large_photos_are_shrunk_for_the_page(tmp_path: Path) -> None:
    large = noise(2000, 1500)
    writer = Writer(tmp_path, expected=1)
    writer.add(enhanced(tmp_path), large, large)
    assert re.findall(r"--ratio: (\d+) / (\d+)", writer.write().read_text())[0] == ("1600", "1200")


def test_the_size_of_the_page_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_BYTES", 1_000_000)
    writer = Writer(tmp_path, expected=20)
    photo = noise(800, 600)
    for number in range(20):
        writer.add(enhanced(tmp_path, f"{number}.jpg"), photo, photo)
    html = writer.write().read_text()
    assert len(html) < 2_000_000
    assert "--ratio: 640 / 480" in html
    assert html.count("<figure") == 20
    assert "this page is full" in html


def test_a_photo_without_a_preview_has_a_link(tmp_path: Path) -> None:
    writer = Writer(tmp_path, expected=1)
    writer.add(enhanced(tmp_path))
    elements = Elements(writer.write().read_text())
    assert elements.named("a")
    assert not elements.named("img")


def test_the_detail_is_where_the_edges_are() -> None:
    image = pyvips.Image.black(800, 600, bands=3).copy(interpretation="srgb") + 100
    image = image.insert(noise(100, 80), 620, 440).cast("uchar").copy(interpretation="srgb")
    left, top, width, height = most_detailed(image, 0.2)
    assert (width, height) == (160, 120)
    assert left <= 620 + 20
    assert left + width >= 720 - 20
    assert top <= 440 + 20
    assert top + height >= 520 - 20


@pytest.mark.parametrize("corner", [(0, 0), (700, 0), (0, 520), (700, 520)])
def test_the_detail_stays_inside_the_photo(corner: tuple[int, int]) -> None:
    image = pyvips.Image.black(800, 600, bands=3).copy(interpretation="srgb")
    image = image.insert(noise(100, 80), *corner).cast("uchar").copy(interpretation="srgb")
    left, top, width, height = most_detailed(image, 0.3)
    assert left >= 0
    assert top >= 0
    assert left + width <= 800
    assert top + height <= 600


def test_before_and_after_show_the_same_detail() -> None:
    before = noise(400, 300).gaussblur(3).cast("uchar")
    after = before.resize(1024 / 400)
    pair = detail_view(before, after)
    assert pair
    assert max(pair.width, pair.height) == pytest.approx(400, abs=2)


def test_a_small_result_has_no_detail_view() -> None:
    assert detail_view(noise(100, 80), noise(500, 400)) is None


def test_shows_what_was_kept_of_the_photos_metadata(html: str) -> None:
    text = " ".join(Elements(html).text.split())
    assert "Kept" in text
    assert "date 2015-02-11 18:03:42; camera Canon EOS R5; location 28.56194, -80.57736" in text
