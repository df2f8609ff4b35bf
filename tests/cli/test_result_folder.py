"""Results are written atomically, and never outside the folder for results."""

import os
import re
import stat
import time
from pathlib import Path

import pytest

from lumendrop_cli import result_folder
from lumendrop_cli.errors import CliError
from lumendrop_cli.photo_files import LocalFile, Skipped, check_name, discover
from lumendrop_cli.result_folder import PathChanged, ResultFolder, atomic_file, safe_name, signature

E_NFC, E_NFD = "\u00e9.jpg", "e\u0301.jpg"
EVIL = ["../../x.jpg", "/etc/passwd", "a/../../x", "..", ".", "", "a//b", "./a", "a/./b", "x\0y", "../" * 50 + "x"]


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("name", [*EVIL, "C:\\Windows\\x.jpg", "c:x.jpg", "\\\\server\\share\\x", "..\\..\\x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str, windows: bool) -> None:
    folder = ResultFolder(tmp_path / "out", windows=windows)
    path = folder.place(name)
    assert path.resolve().is_relative_to((tmp_path / "out").resolve())
    assert path.resolve() != (tmp_path / "out").resolve()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        ("a/lpt1.tar.gz", "a/_lpt1.tar.gz"),
        ("console.jpg", "console.jpg"),
        ("a. ", "a"),
        ("...", "_"),
        ("12:30?.jpg", "12_30_.jpg"),
        ("c:x", "c_x"),
        ("a\\b", "a_b"),
    ],
)
def test_names_that_windows_reserves_are_changed_there(name: str, safe: str) -> None:
    assert safe_name(name, windows=True) == safe
    if not any(part in ("", ".", "..") for part in name.split("/")):
        assert safe_name(name, windows=False) == name


def test_a_name_that_is_too_long_is_shortened() -> None:
    long = ["\N{CAMERA}" * 100 + ".jpg", "\N{CAMERA}" * 101 + ".jpg"]
    short = [safe_name(name, windows=False) for name in long]
    assert len(set(short)) == 2
    assert all(len(name.encode()) <= 200 and name.endswith(".jpg") for name in short)


def _reserve(folder: ResultFolder, name: str) -> str:
    return next(folder.names(name, name))


def test_names_that_differ_only_in_case_or_form_get_their_own_files(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, windows=True)
    names = ["A.jpg", "a.jpg", E_NFC, E_NFD, "dir/A", "DIR/a"]
    reserved = [_reserve(folder, name) for name in names]
    patterns = ["A.jpg", "a~HASH.jpg", E_NFC, E_NFD.replace(".", "~HASH."), "dir/A", "DIR/a~HASH"]
    for name, pattern in zip(reserved, patterns, strict=True):
        assert re.fullmatch(pattern.replace("HASH", "[0-9a-f]{12}"), name)
    assert [_reserve(folder, name) for name in names] == reserved


def test_a_file_system_that_distinguishes_names_keeps_them(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, windows=False)
    names = ["A.jpg", "a.jpg", E_NFC, E_NFD]
    for name in names:
        folder.place(name).write_text(name)
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_link_in_the_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(outside, target_is_directory=True)
    (outside / "victim.jpg").write_text("precious")
    (out / "link.jpg").symlink_to(outside / "victim.jpg")
    folder = ResultFolder(out)
    with pytest.raises(OSError, match="leads out of"):
        folder.place("sub/x.jpg")
    with pytest.raises(OSError, match="leads out of"):
        folder.place("sub/deeper/x.jpg")
    link = folder.place("link.jpg")
    with atomic_file(link, 0, signature(link)) as opened:
        opened.write(b"result")
    assert (outside / "victim.jpg").read_text() == "precious"
    assert list(outside.iterdir()) == [outside / "victim.jpg"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_file(path, 0, signature(path)) as opened:
        opened.write(b"half")
        raise KeyboardInterrupt
    assert (path.read_text(), list(tmp_path.iterdir())) == ("before", [path])


@pytest.mark.parametrize("before", [None, "before"])
def test_a_file_that_somebody_wrote_meanwhile_is_kept(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.jpg"
    if before:
        path.write_text(before)
    with pytest.raises(PathChanged), atomic_file(path, 0, signature(path)) as opened:
        opened.write(b"result")
        path.write_text("somebody's")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("somebody's", [path])


def test_what_a_killed_run_left_behind_is_removed_later(tmp_path: Path) -> None:
    old, new = (tmp_path / "sub" / f".lumendrop-{name}.partial" for name in ("old", "new"))
    old.parent.mkdir()
    for one in (old, new):
        one.touch()
    os.utime(old, (0, time.time() - result_folder._ABANDONED_SECONDS - 1))
    ResultFolder(tmp_path).place("sub/a.jpg")
    assert list(old.parent.iterdir()) == [new]


def test_a_file_is_no_folder_for_results(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(CliError, match="Choose another -o"):
        ResultFolder(tmp_path / "out")


def test_everything_in_a_folder_is_found_or_explained(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "sub/b.jpg", "sub/deep/c.jpg", ".hidden", ".git/x.jpg", "sub/Thumbs.db", "out/result.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "sub/loop").symlink_to(folder, target_is_directory=True)
    (folder / "sub/itself").symlink_to("itself")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "linked").symlink_to(folder / "sub/deep", target_is_directory=True)
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"\xff.jpg")).touch()
    found = list(discover([folder], folder / "out"))
    files = [one.name for one in found if isinstance(one, LocalFile)]
    assert files == ["a.jpg", "\udcff.jpg", "linked/c.jpg", "sub/b.jpg", "sub/deep/c.jpg"]
    skipped = {one.name: one.reason for one in found if isinstance(one, Skipped)}
    assert skipped == {
        ".git": "hidden",
        ".hidden": "hidden",
        "broken.jpg": "unreadable: No such file or directory",
        "out": "the folder for results",
        "pipe.jpg": "no regular file",
        "sub/Thumbs.db": "hidden",
        "sub/itself": "unreadable: Too many levels of symbolic links",
        "sub/loop": "a link to a folder that contains it",
    }
    odd = next(one for one in found if isinstance(one, LocalFile) and one.name == "\udcff.jpg")
    assert check_name(odd.path.name, odd.name) == "its name is not UTF-8"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.jpg.part", "incomplete, as its name says"),
        ("x.crdownload", "incomplete, as its name says"),
        ("a\ufffe.jpg", "its name contains U+FFFE or U+FFFF"),
        ("a" * 1030, "its key has more than 1,024 bytes"),
        ("a.jpg", None),
    ],
)
def test_names_that_cannot_be_uploaded(name: str, reason: str | None) -> None:
    assert check_name(name, name) == reason


def test_a_folder_that_disappears_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a/1.jpg", "b/2.jpg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    found = discover([folder], tmp_path / "out")
    first = next(found)
    (folder / "b/2.jpg").unlink()
    (folder / "b").rmdir()
    assert isinstance(first, LocalFile)
    (gone,) = list(found)
    assert (gone.name, gone.reason) == ("b/", "unreadable: No such file or directory")  # type: ignore[union-attr]


def test_an_unreadable_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("lumendrop_cli.photo_files.os.scandir", refuse)
    assert list(discover([tmp_path], tmp_path / "out")) == [Skipped("a/", "unreadable: Permission denied")]
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
