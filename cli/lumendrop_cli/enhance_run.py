"""Carries out a plan of `lumendrop enhance`: uploads, waits for the stack, and downloads."""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event

from lumendrop_cli import delays, ledger, polling, statuses, transfers
from lumendrop_cli.bars import Bar
from lumendrop_cli.batches import batches
from lumendrop_cli.enhance_plan import THREADS, Photo, take_own_row
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger import Row
from lumendrop_cli.result_folder import ResultFolder
from lumendrop_cli.stack import Stack
from lumendrop_cli.transfers import ResultGone, Stopped

# The states of a photo that has ended. `uploaded` is that of a photo that the command does not wait for.
ENDED = frozenset({"enhanced", "done", "failed", "uploaded"})

_DELAY_SECONDS = 10  # without a row, before the reason is looked up
_REASON_SECONDS = 15
_PHOTOS_PER_SECOND = 500  # to poll, so that a large folder costs little
_LABELS = {"claimed": "submitting", "retrying": "trying again"}
# The shares of a bar: upload, waiting for submit, task, delivery and download.
_UPLOADED, _SUBMITTED, _DELIVERING = 0.2, 0.25, 0.9


class Run:
    """Photos on their way. `on_change` is called for each photo that was uploaded, and for each that has ended.

    Errors of a file or a photo end that photo. Errors of AWS, and a full disk, end the run: they are raised by `step`.
    """

    def __init__(
        self, stack: Stack, folder: ResultFolder, on_change: Callable[[Photo], None], *, no_wait: bool = False
    ) -> None:
        self._stack, self._folder, self._on_change, self._no_wait = stack, folder, on_change, no_wait
        for service in ("s3", "dynamodb"):  # clients can be used by several threads, but not created
            stack.client(service)
        self._workers = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
        self._stop = Event()
        self._moving: dict[Future[None], Photo] = {}
        self._finished: SimpleQueue[Future[None]] = SimpleQueue()
        self._waiting: dict[int, Photo] = {}
        self._poll_at = 0.0
        self._waiting_since = time.monotonic()
        self._reason_at = 0.0
        self.delay: str | None = None
        self.ended: list[Photo] = []

    @property
    def is_active(self) -> bool:
        """Whether photos are on their way."""
        return bool(self._moving or self._waiting)

    def start(self, photos: Iterable[Photo]) -> None:
        """Starts what the plan says. Uploads first, because the stack then works while results are downloaded."""
        steps = {"upload": self._upload, "fetch": self._download}
        for photo in sorted(photos, key=lambda photo: photo.state != "upload"):
            if photo.state in steps:
                self._move(photo, steps[photo.state])
            elif photo.state == "wait":
                self._wait_for(photo)
            else:
                self._end(photo)

    def step(self, seconds: float) -> None:
        """Waits for a transfer for at most this time, and polls the ledger if that is due."""
        if self._moving:
            with suppress(Empty):
                future = self._finished.get(timeout=seconds)
                while True:
                    self._finish(self._moving[future], future)
                    del self._moving[future]
                    future = self._finished.get_nowait()
        else:
            time.sleep(seconds if self._waiting else 0)
        if self._waiting and time.monotonic() >= self._poll_at:
            began = time.monotonic()
            self._poll()
            # A poll takes CPU time from the sandbox.
            pause = max(polling.INTERVAL_SECONDS, 2 * (time.monotonic() - began))
            self._poll_at = time.monotonic() + max(pause, len(self._waiting) / _PHOTOS_PER_SECOND)

    def stop(self) -> list[Photo]:
        """Ends the transfers. Returns the photos that have not ended; the stack continues with those it has."""
        self._stop.set()
        self._workers.shutdown(wait=True, cancel_futures=True)
        return [*self._moving.values(), *self._waiting.values()]

    def bars(self) -> list[Bar]:
        """The active photos: those that move first, then those whose task is furthest."""
        waiting = [_bar(photo) for photo in self._waiting.values() if photo.row is not None]
        waiting.sort(key=lambda bar: bar.share, reverse=True)
        return [*(_bar(photo) for photo in self._moving.values() if photo.sent or photo.state == "fetch"), *waiting]

    def label(self) -> str:
        """What the photos are doing, in one line."""
        states = Counter(_label(photo) for photo in (*self._moving.values(), *self._waiting.values()))
        return ", ".join(f"{number:,} {label.split(' ')[0]}" for label, number in states.most_common(3))

    def _move(self, photo: Photo, step: Callable[[Photo], None]) -> None:
        future = self._workers.submit(step, photo)
        self._moving[future] = photo
        future.add_done_callback(self._finished.put)

    def _wait_for(self, photo: Photo) -> None:
        if self._no_wait:
            photo.state = "uploaded"
            self._end(photo)
            return
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting[id(photo)] = photo

    def _end(self, photo: Photo) -> None:
        self.ended.append(photo)
        self._on_change(photo)

    def _upload(self, photo: Photo) -> None:
        def sent(size: int) -> None:
            photo.sent = size

        version_id, photo.was_uploaded = transfers.upload(self._stack, photo.source, photo.etag, sent, self._stop)
        photo.upload = photo.source.key, version_id

    def _download(self, photo: Photo) -> None:
        if photo.result is None:
            raise CliError(f"{photo.name} has no result. Run the command again.")
        photo.path, photo.is_new_path = transfers.download(
            self._stack, photo.source, photo.result, self._folder, self._stop
        )

    def _finish(self, photo: Photo, future: Future[None]) -> None:
        """Takes the outcome of a transfer."""
        try:
            future.result()
        except Stopped:
            return
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise CliError(f"The disk of {self._folder.root} is full. {AGAIN}") from None
            self._fail(photo, f"{error.strerror or error}")
        except ResultGone as error:
            self._fail(photo, f"{error} To pay for another one: `lumendrop retry KEY --pay`.")
        except CliError as error:
            self._fail(photo, str(error))
        else:
            if photo.state == "upload":
                photo.state = "wait"
                self._on_change(photo)
                self._wait_for(photo)
            else:
                photo.state = "enhanced" if photo.is_new_path else "done"
                self._end(photo)

    def _fail(self, photo: Photo, error: str) -> None:
        photo.state, photo.error = "failed", error
        self._end(photo)

    def _poll(self) -> None:
        waiting = [photo for photo in self._waiting.values() if photo.upload]
        for batch in batches(waiting, ledger.BATCH_SIZE):
            uploads = sorted({photo.upload for photo in batch if photo.upload})
            rows = ledger.batch_get(self._stack, uploads, whole=True)
            for photo in batch:
                self._take(photo, rows.get(photo.upload or ("", "")))
        self._find_reason()

    def _take(self, photo: Photo, row: Row | None) -> None:
        take_own_row(photo, row)
        if photo.state == "wait":
            return
        del self._waiting[id(photo)]
        if photo.state == "fetch":
            self._move(photo, self._download)
        elif photo.is_own:
            self._end(photo)
        else:  # another upload of the same photo has failed, so this one is needed
            photo.state, photo.upload, photo.row, photo.error = "upload", None, None, ""
            self._move(photo, self._upload)

    def _find_reason(self) -> None:
        """Looks up why uploads wait, if some do."""
        now = time.monotonic()
        if all(photo.row for photo in self._waiting.values()):
            self.delay, self._waiting_since = None, now
        elif now - self._waiting_since > _DELAY_SECONDS and now > self._reason_at:
            self._reason_at = now + _REASON_SECONDS
            self.delay = delays.delay_reason(self._stack)


AGAIN = "To continue, run the same command again: nothing is uploaded, paid for, or downloaded twice."


def _bar(photo: Photo) -> Bar:
    return Bar(photo.name, _share(photo), _label(photo))


def _label(photo: Photo) -> str:
    if photo.state == "upload":
        return f"uploading {100 * photo.sent // max(photo.source.file.size, 1)} %"
    if photo.state == "fetch":
        return "downloading"
    if photo.row is None:
        return "waiting"
    status = str(photo.row["status"])
    if status == statuses.SUBMITTED:
        return f"enhancing {round(100 * _task_share(photo.row))} %"
    return _LABELS.get(status, status)


def _share(photo: Photo) -> float:
    if photo.state == "upload":
        return _UPLOADED * photo.sent / max(photo.source.file.size, 1)
    if photo.state == "fetch":
        return _DELIVERING
    if photo.row is None or photo.row["status"] != statuses.SUBMITTED:
        return _UPLOADED
    return _SUBMITTED + (_DELIVERING - _SUBMITTED) * _task_share(photo.row)


def _task_share(row: Row) -> float:
    """The progress of a task by the vendor's estimate; tasks can take longer than that."""
    elapsed = time.time() - float(row.get("submitted_at") or time.time())
    return max(0.0, min(0.95, elapsed / float(row.get("estimated_seconds") or 60)))
