"""A hot folder: finds files that are new or changed, once they are complete."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from lumendrop_cli.photo_files import LocalFile, discover

STABLE_SECONDS = 2.0  # a file is complete if it has not changed for this long
# Network drives send no notifications, and a sleeping laptop misses them.
RESCAN_SECONDS = 30.0


class Watcher:
    """Watches paths. Notifications only make it look sooner; it works without them.

    `left_out` are files that have the name of a file in another path, because both would have one key and one result.
    """

    def __init__(self, paths: Sequence[Path], leave_out: Path) -> None:
        self._paths, self._leave_out = paths, leave_out
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._taken: dict[Path, tuple[int, int]] = {}
        self._scan_at = 0.0
        self._changed, self._stop = Event(), Event()
        self.left_out: list[Path] = []
        Thread(target=self._listen, daemon=True).start()

    def ready(self) -> list[LocalFile]:
        """The files that have become complete since the last call. Returns at once."""
        now = time.monotonic()
        if now < self._scan_at and not self._changed.is_set():
            return []
        self._changed.clear()
        found = self._discover()
        self._seen = {one.path: self._since(one, now) for one in found}
        new = [one for one in found if self._taken.get(one.path) != one.signature]
        complete = [one for one in new if now - self._seen[one.path][1] >= STABLE_SECONDS]
        self._taken |= {one.path: one.signature for one in complete}
        self._taken = {path: signature for path, signature in self._taken.items() if path in self._seen}
        self._scan_at = now + (STABLE_SECONDS / 2 if len(new) > len(complete) else RESCAN_SECONDS)
        return complete

    def give_back(self, files: Sequence[LocalFile]) -> None:
        """These files are found again: their upload or download did not end."""
        for file in files:
            self._taken.pop(file.path, None)
        self._scan_at = time.monotonic() + STABLE_SECONDS

    def close(self) -> None:
        self._stop.set()

    def _discover(self) -> list[LocalFile]:
        """One file for each name: the one that was taken, or the first."""
        found = [one for one in discover(self._paths, self._leave_out) if isinstance(one, LocalFile)]
        unique: dict[str, LocalFile] = {}
        for one in sorted(found, key=lambda one: one.path not in self._taken):
            unique.setdefault(one.name, one)
        self.left_out = [one.path for one in found if unique[one.name] != one]
        return list(unique.values())

    def _since(self, file: LocalFile, now: float) -> tuple[tuple[int, int], float]:
        """The file's signature, and since when it has it."""
        signature, since = self._seen.get(file.path, (None, now))
        return (file.signature, since if signature == file.signature else now)

    def _listen(self) -> None:
        # Imported here, because it is needed only by --watch.
        from watchfiles import watch

        with suppress(Exception):  # such as a folder that disappears, or too many watches: the next scan finds all
            for _ in watch(*self._paths, stop_event=self._stop, raise_interrupt=False, ignore_permission_denied=True):
                self._changed.set()
