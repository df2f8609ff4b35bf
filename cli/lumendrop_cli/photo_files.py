"""The photos in files and folders of this machine."""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lumendrop_cli.image_header import HEAD_BYTES, Header, read_header

# As in submit, and the names that browsers and sync tools give to files that are not complete.
PARTIAL = (".filepart", ".part", ".partial", ".crdownload", ".download", ".tmp", ".temp", ".aria2", ".!ut", "~")
_HIDDEN = frozenset({"thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_MOST_KEY_BYTES = 1024
_UNSENDABLE = frozenset("\ufffe\uffff")  # SQS refuses them
_CHUNK = 1 << 20

Identity = tuple[int, int] | Path


@dataclass(frozen=True)
class LocalFile:
    """A file. `name` is its path below the folder that was given, with slashes. `mtime_ns` is in nanoseconds."""

    path: Path
    name: str
    size: int
    mtime_ns: int

    @property
    def signature(self) -> tuple[int, int]:
        """Changes whenever the file does."""
        return self.size, self.mtime_ns


@dataclass(frozen=True)
class Skipped:
    """Something that is not uploaded, and why."""

    name: str
    reason: str


def expand_patterns(arguments: Sequence[str], *, windows: bool = os.name == "nt") -> list[str]:
    """The arguments, with `*.jpg` replaced by the names of files on Windows, whose shells leave that to the command."""
    if not windows:
        return list(arguments)
    return [name for one in arguments for name in (_matching(one) if "*" in one or "?" in one else []) or [one]]


def _matching(pattern: str) -> list[str]:
    # A bracket is a part of a name: browsers on Windows name the second download `photo[1].jpg`.
    return [] if pattern.startswith("-") else sorted(glob.glob(pattern.replace("[", "[[]")))  # noqa: PTH207  # as given


def discover(paths: Iterable[Path], leave_out: Path) -> Iterator[LocalFile | Skipped]:
    """Every file below the paths, in the order of names. Links are followed, except those that lead back.

    `leave_out` is the folder for results. A folder that disappears meanwhile is skipped.
    """
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            yield Skipped(str(path), _reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, leave_out.resolve())
        else:
            yield _file(path, path.name, status)


def _walk(root: Path, leave_out: Path) -> Iterator[LocalFile | Skipped]:
    left_out, is_inside = identity(leave_out), root.resolve().is_relative_to(leave_out)
    folders: list[tuple[Path, str, frozenset[Identity]]] = [(root, "", frozenset())]
    while folders:
        folder, prefix, above = folders.pop()
        try:
            own = _identity_of(folder, folder.stat())
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            yield Skipped(prefix or str(root), _reason(error))
            continue
        below = []
        for entry in entries:
            name = prefix + entry.name
            if is_hidden(entry.name):
                yield Skipped(name, "hidden")
                continue
            path = Path(entry.path)
            try:
                # On Windows, entry.stat() has no identity, and an old size while somebody writes the file.
                status = path.stat()
            except OSError as error:
                yield Skipped(name, _reason(error))
                continue
            leads_there = _is_link(entry) and not is_inside and path.resolve().is_relative_to(leave_out)
            if leads_there or (stat.S_ISDIR(status.st_mode) and _identity_of(path, status) == left_out):
                yield Skipped(name, "the folder for results")
            elif not stat.S_ISDIR(status.st_mode):
                yield _file(path, name, status)
            elif _identity_of(path, status) in above | {own}:
                yield Skipped(name, "a link to a folder that contains it")
            else:
                below.append((path, f"{name}/", above | {own}))
        folders += reversed(below)


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether an entry leads elsewhere. Windows has junctions too, which Python 3.11 does not tell from folders."""
    return entry.is_symlink() or bool(getattr(entry, "is_junction", entry.is_symlink)())


def _file(path: Path, name: str, status: os.stat_result) -> LocalFile | Skipped:
    if not stat.S_ISREG(status.st_mode):
        return Skipped(name, "no regular file")
    return LocalFile(path, name, status.st_size, status.st_mtime_ns)


def identity(path: Path) -> Identity | None:
    """What a path leads to, whatever its spelling. None if nothing is there."""
    try:
        return _identity_of(path, path.stat())
    except OSError:
        return None


def _identity_of(path: Path, status: os.stat_result) -> Identity:
    # Some network drives number no files.
    return (status.st_dev, status.st_ino) if status.st_ino else path.resolve()


def _reason(error: OSError) -> str:
    return f"unreadable: {error.strerror or error}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: hidden, or written by a system for itself."""
    return name.startswith(".") or name.lower() in _HIDDEN


def check_name(name: str, key: str) -> str | None:
    """Why a file of this name, without its folder, can't be uploaded under this key; None if it can."""
    if name.lower().endswith(PARTIAL):
        return "incomplete, as its name says"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if _UNSENDABLE & set(key):
        return "its name contains U+FFFE or U+FFFF"
    return f"its key has more than {_MOST_KEY_BYTES:,} bytes" if len(encoded) > _MOST_KEY_BYTES else None


def inspect(file: LocalFile, most_bytes: int) -> tuple[Header, str] | str:
    """The header and the SHA-256 (base64) of a photo, or why it is not uploaded."""
    if file.size == 0:
        return "empty"
    if file.size > most_bytes:
        return f"larger than {most_bytes:,} bytes (MaxUploadBytes)"
    try:
        with file.path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
            header = read_header(head)
            if header is None:
                return "no photo (JPEG, PNG, WebP, HEIC)"
            return header, sha256_of(chain([head], iter(lambda: opened.read(_CHUNK), b"")))
    except OSError as error:
        return _reason(error)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in base64 as S3 has it."""
    with path.open("rb") as opened:
        return sha256_of(iter(lambda: opened.read(_CHUNK), b""))


def md5(path: Path) -> str:
    """The MD5 of a file in hexadecimal digits: S3's ETag of an object that was uploaded in one part."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as opened:
        for chunk in iter(lambda: opened.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of some bytes, in base64 as S3 has it."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()


def clashing(names: Sequence[str]) -> str | None:
    """The first name that occurs twice, because several paths were given."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
