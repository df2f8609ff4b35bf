"""`lumendrop enhance` never replaces a file of the user, and never enhances a result of its own run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from lumendrop_cli import transfers
from lumendrop_cli.overlaps import check_overlaps
from lumendrop_cli.photo_files import LocalFile, Skipped, discover
from lumendrop_cli.result_folder import ResultFolder
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.folders.test_enhance import _enhance, _photo, _tasks, _tree


@pytest.mark.parametrize("options", [("--yes",), ("--yes", "--watch"), ("--dry-run",)], ids=" ".join)
def test_the_folder_of_the_originals_is_no_folder_for_results(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, options: tuple[str, ...]
) -> None:
    folder = tmp_path / "photos"
    _photo(folder / "a.jpg")
    before = _tree(folder)
    (refused,) = _enhance(lumendrop, folder, folder, *options, code=2)
    assert "is an input folder and the folder for results" in refused["error"]
    assert (_tree(folder), _tasks(pipeline, folder)) == (before, [])


def test_a_photo_is_not_replaced_by_its_result(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = _photo(tmp_path / "photos/a.jpg")
    before = photo.read_bytes()
    monkeypatch.chdir(photo.parent)
    (refused,) = _enhance(lumendrop, photo, Path(), "--yes", code=2)
    assert "would replace the original" in refused["error"]
    assert (photo.read_bytes(), _tasks(pipeline, photo.parent)) == (before, [])


def _check(paths: list[Path], out: Path) -> None:
    folder = ResultFolder(out)
    check_overlaps(paths, [one for one in discover(paths, out) if isinstance(one, LocalFile)], folder)


@pytest.mark.parametrize(
    ("paths", "out"),
    [
        (["photos"], "photos"),
        (["photos"], "photos/sub/.."),
        (["photos"], "link"),
        (["link"], "photos"),
        (["photos", "more"], "more"),
        (["photos/a.jpg"], "photos"),
        (["photos/a.jpg"], "link"),
        (["photos", "more/x.jpg"], "more"),
        (["more/photos"], "more"),  # of more/photos/photos/b.jpg, it would be more/photos/b.jpg
    ],
)
def test_no_result_goes_where_originals_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], out: str
) -> None:
    for name in ("photos/a.jpg", "photos/sub/b.jpg", "more/x.jpg", "more/photos/photos/b.jpg"):
        _photo(tmp_path / name, b"x")
    (tmp_path / "link").symlink_to("photos", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for base in (Path(), tmp_path):
        with pytest.raises(typer.BadParameter, match="Choose another -o"):
            _check([base / path for path in paths], tmp_path / out)
        with pytest.raises(typer.BadParameter, match="Choose another -o"):
            _check([base / path for path in paths], Path(out))


@pytest.mark.parametrize(
    ("paths", "out"), [(["photos"], "photos/out"), (["photos"], "."), (["photos/a.jpg"], "."), (["photos"], "new")]
)
def test_other_folders_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], out: str
) -> None:
    _photo(tmp_path / "photos/a.jpg", b"x")
    monkeypatch.chdir(tmp_path)
    _check([Path(path) for path in paths], Path(out))


def test_links_to_results_are_left_out(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "photos/out"
    for path in (folder / "a.jpg", out / "a.jpg", out / "sub/b.jpg"):
        _photo(path, b"x")
    (folder / "file.jpg").symlink_to(out / "a.jpg")
    (folder / "linked").symlink_to(out / "sub", target_is_directory=True)
    found = list(discover([folder], out))
    assert [one.name for one in found if isinstance(one, LocalFile)] == ["a.jpg"]
    assert [one for one in found if isinstance(one, Skipped)] == [
        Skipped(name, "the folder for results") for name in ("file.jpg", "linked", "out")
    ]


def test_files_of_others_in_the_folder_for_results_are_kept(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    _photo(folder / "edited.jpg")
    foreign = _photo(out / "a.jpg")
    kept = foreign.read_bytes()

    first = _enhance(lumendrop, folder, out)
    assert (first[0]["names_taken"], first[-1]["enhanced"]) == (1, 2)
    assert foreign.read_bytes() == kept
    (own,) = set(_tree(out)) - {"a.jpg", "edited.jpg"}
    assert own.startswith("a~")
    assert own.endswith(".jpg")
    assert str(out / own) in [one.get("path") for one in first]
    with (out / "edited.jpg").open("ab") as edited:
        edited.write(b"my work")
    kept = (out / "edited.jpg").read_bytes()

    assert _enhance(lumendrop, folder, out)[-1]["enhanced"] == 1
    assert (out / "edited.jpg").read_bytes() == kept
    before = _tree(out)
    assert len(before) == 4
    assert _enhance(lumendrop, folder, out)[-1]["done_before"] == 2
    assert (_tree(out), len(_tasks(pipeline, folder))) == (before, 2)


def _foreign_upload(pipeline: Pipeline, key: str, body: bytes, case: str) -> None:
    s3, place = pipeline.cloud.client("s3"), {"Bucket": pipeline.outputs["OutputBucketName"], "Key": key}
    metadata = {
        "source-bucket": "somebodys" if case == "of another bucket" else pipeline.outputs["InputBucketName"],
        "source-key": "another.jpg" if case == "of another key" else key,
        "source-version-id": "1",
        "task-id": "t",
        "result-bytes": str(len(body) + (case == "edited")),
    }
    s3.put_object(**place, Body=body, Metadata={} if case in ("foreign", "deleted") else metadata)
    if case == "deleted":
        s3.delete_object(**place)


@pytest.mark.parametrize("case", ["foreign", "deleted", "edited", "of another key", "of another bucket"])
def test_a_file_that_somebody_has_uploaded_to_the_output_bucket_is_kept(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, case: str
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    own = _photo(out / "a.jpg", b"own")
    _foreign_upload(pipeline, f"in/enhance/{tmp_path.name}/a.jpg", b"own", case)
    (_, *_, summary) = _enhance(lumendrop, folder, out)
    assert (own.read_bytes(), len(_tree(out)), summary["enhanced"]) == (b"own", 2, 1)


def test_the_result_of_an_older_photo_is_replaced_if_nobody_edited_it(lumendrop: Lumendrop, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg", jpeg(80, 64) + os.urandom(8))
    _enhance(lumendrop, folder, out)
    older = (out / "a.jpg").read_bytes()
    _photo(folder / "a.jpg", jpeg(120, 64) + os.urandom(8))
    _enhance(lumendrop, folder, out)
    assert set(_tree(out)) == {"a.jpg"}
    newer = (out / "a.jpg").read_bytes()
    assert newer != older
    (out / "a.jpg").write_bytes(older)
    assert _enhance(lumendrop, folder, out)[0]["fetch"] == 1
    assert _tree(out) == {"a.jpg": newer}


def test_a_sidecar_of_another_program_is_kept(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    _enhance(lumendrop, folder, out, "--no-wait")
    (out / "a.jpg.xmp").write_text("my edits")
    get: Callable[..., dict[str, str]] = transfers._get

    def with_sidecar(*arguments: Any) -> dict[str, str]:
        """As if the photo's format had no place for its metadata."""
        result, s3 = arguments[1], pipeline.cloud.client("s3")
        if not result.key.endswith(".xmp"):
            metadata = s3.head_object(**result.place)["Metadata"]
            s3.put_object(Bucket=result.bucket, Key=f"{result.key}.xmp", Body=b"<x/>", Metadata=metadata)
        return {**get(*arguments), "sidecar": "xmp"}

    monkeypatch.setattr(transfers, "_get", with_sidecar)
    _enhance(lumendrop, folder, out)
    (own,) = set(_tree(out)) - {"a.jpg", "a.jpg.xmp"}
    assert own.startswith("a.jpg~")
    assert {name: _tree(out)[name] for name in ("a.jpg.xmp", own)} == {"a.jpg.xmp": b"my edits", own: b"<x/>"}


def test_a_file_that_appears_during_a_download_is_kept(
    lumendrop: Lumendrop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    get: Callable[..., Any] = transfers._get

    def appear(*arguments: Any) -> Any:
        if not (out / "a.jpg").exists():
            (out / "a.jpg").write_text("mine")
        return get(*arguments)

    monkeypatch.setattr(transfers, "_get", appear)
    _enhance(lumendrop, folder, out)
    assert (out / "a.jpg").read_text() == "mine"
    assert len(_tree(out)) == 2


def test_two_photos_never_share_a_result(lumendrop: Lumendrop, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    for number, name in enumerate(("h.heic", "h.heic.jpg"), 1):
        _photo(folder / name, jpeg(60 * number, 64) + os.urandom(8))
    first = _enhance(lumendrop, folder, out)
    assert first[-1]["enhanced"] == 2
    results = _tree(out)
    assert len(results) == 2
    assert "h.heic.jpg" in results
    assert _enhance(lumendrop, folder, out)[-1]["done_before"] == 2
    (out / "h.heic.jpg").unlink()
    _enhance(lumendrop, folder, out)
    assert _tree(out) == results
