"""The folder for results. Nothing is ever written outside it, and never half a file."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from lumendrop_cli.errors import CliError

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)
_FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"\\|?*\x00-\x1f]')
_MOST_NAME_BYTES = 200  # file systems allow 255; the extension and the temporary name need some
_TEMPORARY = (".lumendrop-", ".partial")
_ABANDONED_SECONDS = 3600

Signature = tuple[int, int, int]


class ResultFolder:
    """A folder for results. `names` gives each photo its own names. Can be used by several threads.

    It need not exist until `create`. Raises CliError if it can't be used.
    """

    def __init__(self, folder: Path, *, windows: bool = os.name == "nt") -> None:
        with _usable(folder):
            self.root = Path(os.path.realpath(folder))
            self._folds = _folds_names(_nearest(self.root))
        self._windows = windows
        self._taken: dict[str, str] = {}
        self._lock = Lock()
        self._cleaned: set[Path] = set()

    def create(self) -> None:
        """Creates the folder. Raises CliError."""
        with _usable(self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    def names(self, name: str, photo: str) -> Iterator[str]:
        """The names that a file of this photo can have, the best first, without end: paths below the folder.

        Each is reserved when it is returned: no other photo gets it, also not in another case. The names are the same
        in every run that reserves the names of the same photos first.
        """
        safe = safe_name(name, windows=self._windows)
        for number in count():
            candidate = safe if number == 0 else _disambiguate(safe, f"{photo}\0{number}")
            with self._lock:
                is_own = self._taken.setdefault(self._folded(candidate), photo) == photo
            if is_own:
                yield candidate

    def path_of(self, name: str) -> Path:
        """The path of a name. Creates nothing."""
        return self.root / safe_name(name, windows=self._windows)

    def problem(self, name: str) -> str | None:
        """Why a file of this name can't be written; None if nothing is known."""
        folder = self.path_of(name).parent
        if not self._is_inside(folder):
            return "a link in the folder for results leads out of it"
        nearest = _nearest(folder)
        if not nearest.is_dir():
            return "the folder for results has something else in place of its folder"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return "its folder in the folder for results can't be written"
        return None

    def place(self, name: str) -> Path:
        """The path of a name. Creates its folder. Raises OSError."""
        path = self.path_of(name)
        self._check_inside(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._check_inside(path.parent)
        self._remove_abandoned(path.parent)
        return path

    def _folded(self, name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold() if self._folds or self._windows else name

    def _check_inside(self, folder: Path) -> None:
        if not self._is_inside(folder):
            raise OSError(f"{folder} leads out of {self.root}")

    def _is_inside(self, folder: Path) -> bool:
        """A link inside the folder must not lead out of it."""
        return Path(os.path.realpath(folder)).is_relative_to(self.root)

    def _remove_abandoned(self, folder: Path) -> None:
        """Removes what an earlier run that was killed left behind. Another run may be writing the newer ones."""
        if folder in self._cleaned:
            return
        self._cleaned.add(folder)
        prefix, suffix = _TEMPORARY
        for one in folder.glob(f"{prefix}*{suffix}"):
            with suppress(OSError):
                if time.time() - one.stat().st_mtime > _ABANDONED_SECONDS:
                    one.unlink()


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(f"{folder} can't be the folder for results: {error.strerror}. Choose another -o.") from None


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if os.path.lexists(one))


class PathChanged(Exception):
    """Somebody wrote, changed, or deleted a file that was to be replaced."""


def signature(path: Path) -> Signature | None:
    """Changes whenever what is at a path does. None if nothing is there."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def atomic_file(path: Path, mtime_ns: int, replaced: Signature | None) -> Iterator[BinaryIO]:
    """A file that appears at `path` when the block ends, whole and with this modification time, or not at all.

    It replaces only what has the signature `replaced`. Raises PathChanged if something else is there by then.
    """
    prefix, suffix = _TEMPORARY
    temporary = path.with_name(f"{prefix}{secrets.token_hex(8)}{suffix}")
    try:
        with temporary.open("xb") as opened:
            yield opened
        os.utime(temporary, ns=(mtime_ns, mtime_ns))
        if signature(path) != replaced:
            raise PathChanged
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def safe_name(name: str, *, windows: bool) -> str:
    """A path that stays below its folder, whatever the name is."""
    return "/".join(_safe_part(part, windows) for part in name.split("/"))


def _safe_part(part: str, windows: bool) -> str:
    part = part.replace("\0", "_")
    if windows:
        part = _FORBIDDEN_ON_WINDOWS.sub("_", part)
        part = part.rstrip(" .") or "_"
        part = f"_{part}" if _RESERVED.fullmatch(part) else part
    if part in ("", ".", ".."):
        return "_" * max(1, len(part))
    return _shortened(part)


def _shortened(part: str) -> str:
    encoded = os.fsencode(part)
    if len(encoded) <= _MOST_NAME_BYTES:
        return part
    stem, dot, extension = part.rpartition(".")
    extension = f"{dot}{extension}" if stem and len(extension) < 10 else ""
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    kept = encoded[: _MOST_NAME_BYTES - len(digest) - len(os.fsencode(extension)) - 1]
    return f"{kept.decode(errors='ignore')}-{digest}{extension}"


def _disambiguate(name: str, by: str) -> str:
    """A name with a hash, as `deliver` makes it."""
    digest = hashlib.sha256(by.encode(errors="surrogateescape")).hexdigest()[:12]
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.rpartition(".")
    return f"{folder}{slash}{stem}~{digest}{dot}{extension}" if stem else f"{name}~{digest}"


def _folds_names(folder: Path) -> bool:
    """Whether the file system takes names for the same that differ in case or Unicode form (macOS, Windows, exFAT)."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lumendrop-E\u0301-", suffix=".partial") as probe:
        path = Path(probe.name)
        others = (path.name.replace("E\u0301", "e\u0301"), path.name.replace("E\u0301", "\u00c9"))
        return any(path.with_name(other).exists() for other in others)
