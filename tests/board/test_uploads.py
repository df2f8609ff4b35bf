"""What the board uploads: the names, types, and sizes that `lumendrop enhance` accepts, and no others."""

import io
import json
import re
from typing import Any

import pytest

from lumendrop_cli import photo_files, transfers
from lumendrop_cli.board import uploads
from lumendrop_cli.errors import CliError
from tests.board.fakes import Client, FakeStack

REFUSED = {
    "a\ufffe.jpg": "its name contains U+FFFE or U+FFFF",
    "a\uffff.jpg": "its name contains U+FFFE or U+FFFF",
    "a.jpg.part": "incomplete, as its name says",
    "folder/a.JPG.CRDOWNLOAD": "incomplete, as its name says",
    "a.jpg~": "incomplete, as its name says",
    "\udcff.jpg": "its name is not UTF-8",
    f"{'ä' * 511}.jpg": "its key has more than 1,024 bytes",
    ".hidden.jpg": "hidden",
    ".git/a.jpg": "hidden",
    "a/../../b.jpg": "hidden",
    "Thumbs.db": "hidden",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items(), ids=map(ascii, REFUSED))
def test_a_name_that_enhance_refuses_is_refused(name: str, reason: str, stack: FakeStack) -> None:
    with pytest.raises(CliError, match=re.escape(f"left out: {reason}")):
        uploads.photo(stack, {"name": name}, 1)  # type: ignore[arg-type]
    if reason != "hidden":
        assert photo_files.check_name(name.rpartition("/")[2], name) == reason


@pytest.mark.parametrize("name", ["a.jpg", "a b/ü.HEIC", "<img>.png", "part", "a.part.jpg", "a..jpg"])
def test_other_names_are_accepted(name: str, stack: FakeStack) -> None:
    assert uploads.photo(stack, {"name": name, "folder": "f/"}, 1).key == f"f/{name}"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "folder/"])
def test_a_file_needs_a_name(name: str, stack: FakeStack) -> None:
    with pytest.raises(CliError, match="no name"):
        uploads.photo(stack, {"name": name}, 1)  # type: ignore[arg-type]


def test_the_plan_says_before_the_upload_which_names_are_refused(board: Client) -> None:
    photos = [[1, "", "a.jpg"], [1, "", "a.jpg.part"], [1, "", "x" * 1020]]
    body = json.dumps({"folder": "long/", "photos": json.dumps(photos)}).encode()
    found = json.loads(board.post("/api/plan", body).text)
    assert found["enhanced"] == [False] * 3
    assert [bool(one) for one in found["problems"]] == [False, True, True]


@pytest.mark.parametrize(
    "photos", ["[" * 50_000, "", "[1]", "[[1]]", '[["1", "", "a"]]', '[[1, null, "a"]]', '[[true, "", "a"]]', "{}"]
)
def test_a_plan_of_anything_else_is_refused(photos: str, stack: FakeStack) -> None:
    if photos == "{}":
        assert uploads.plan(stack, {"photos": photos}) == {"enhanced": [], "problems": []}  # type: ignore[arg-type]
        return
    with pytest.raises(CliError, match="lists no photos"):
        uploads.plan(stack, {"photos": photos})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.jpg", "a.JPE", "a.jfif", "a.png", "a.webp", "a.heif", "a.hif", "a.txt", "jpg"])
def test_the_content_type_is_the_one_that_enhance_sends(name: str, stack: FakeStack) -> None:
    wanted = uploads.photo(stack, {"name": name}, 1)  # type: ignore[arg-type]
    uploads.store(stack, wanted, io.BytesIO(b"x"), "")  # type: ignore[arg-type]
    sent: dict[str, Any] = stack.client("s3").put_object.call_args.kwargs
    assert sent.get("ContentType", "") == transfers.content_type(name)
