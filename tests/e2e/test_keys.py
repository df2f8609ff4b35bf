"""An enhanced photo has the key of its upload, whatever characters the key contains."""

from contextlib import suppress
from unicodedata import normalize

import pytest

from tests.e2e.photos import difference, jpeg, opened
from tests.e2e.pipeline import Pipeline, Upload, WaitTimeout

IN_A_FOLDER = [
    "my photo+1%.jpg",
    "%41.jpg",
    "100%25.jpg",
    "plus+plus.jpg",
    normalize("NFC", "Grüße aus Köln.jpg"),
    "🌅 sunset 😀.jpg",
    "what?.jpg",
    "h#sh.jpg",
    "a&b=c;d,e.jpg",
    "'single' \"double\" `back`.jpg",
    "back\\slash.jpg",
    "{curly} [square] ~tilde* $dollar.jpg",
    "errors/x.jpg",
    "/".join(["long " + "n" * 240] * 4)[:996] + ".jpg",
]
ONE_BY_ONE = [
    normalize("NFD", "Grüße aus Köln.jpg"),
    "k" * 996 + ".jpg",
    "d/e/../f.jpg",
    "./x.jpg",
    "//double.jpg",
    "/leading/slash.jpg",
    "a//b.jpg",
    "control\x01character.jpg",
    "line\nbreak.jpg",
]
OTHERWISE = {
    "photo.jpg ": "photo.jpg .jpg",
    "a/b/../c": "a/b/../c.jpg",
    "..": "...jpg",
}
KEYS = [*IN_A_FOLDER, *ONE_BY_ONE, *OTHERWISE]
# Each photo has a different height, which identifies its result.
HEIGHTS = {key: 8 + place for place, key in enumerate(KEYS)}
WIDTH = 96


@pytest.fixture(scope="module")
def uploads(pipeline: Pipeline) -> dict[str, Upload]:
    photos = {key: jpeg(WIDTH, height) for key, height in HEIGHTS.items()}
    dropped = pipeline.drop_folder({key: photos[key] for key in IN_A_FOLDER})
    dropped |= pipeline.drop_all({key: photos[key] for key in [*ONE_BY_ONE, *OTHERWISE]})
    with suppress(WaitTimeout):  # each test checks its own upload
        pipeline.wait(dropped.values())
    return dropped


def _id(key: str) -> str:
    return key[:30].encode("unicode_escape").decode()


@pytest.mark.parametrize("key", KEYS, ids=_id)
def test_the_output_key_is_the_input_key(pipeline: Pipeline, uploads: dict[str, Upload], key: str) -> None:
    result = pipeline.enhanced(uploads[key], at=OTHERWISE.get(key))
    assert (result.image.width, result.image.height) == (1024, round(1024 * HEIGHTS[key] / WIDTH))
    assert difference(opened(jpeg(WIDTH, HEIGHTS[key])), result.image) < 4


def test_no_call_was_denied(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    assert pipeline.denied() == []
