"""A clock that skips waiting times: real time plus the skipped time.

Time is skipped only when no work is active, up to the next scheduled time. The delays and visibility timeouts of
queues, the waits, retries, `$millis()`, and `$now()` of workflows, and `time.time()`, `time.monotonic()`, and
`time.sleep()` in the functions follow this clock. Timeouts of active work stay real, because no time is skipped
meanwhile.
"""

import math
import mmap
import struct
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from types import TracebackType
from typing import Self

_SECONDS = struct.Struct("d")
# How often a wait checks that it is still needed.
_POLL_SECONDS = 0.5


@dataclass(eq=False)
class _Wait:
    until: float
    over: Event = field(default_factory=Event)


class Clock:
    """The time in one cloud.

    Active work is counted with `working`; `resting` and `wait` interrupt it.
    """

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="lumendrop-clock-")  # noqa: SIM115  # closed by close()
        self._file.write(_SECONDS.pack(0.0))
        self._file.flush()
        self._skipped = mmap.mmap(self._file.fileno(), _SECONDS.size)
        self._lock = Lock()
        self._working = 0
        self._waits: set[_Wait] = set()
        self._times: list[Callable[[], float | None]] = []
        self._callbacks: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def path(self) -> Path:
        """The file with the skipped seconds, a C double."""
        return Path(self._file.name)

    @property
    def skipped(self) -> float:
        """Seconds skipped so far."""
        return float(_SECONDS.unpack_from(self._skipped)[0])

    @property
    def busy(self) -> bool:
        """Whether work is active."""
        return self._working > 0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.skipped

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts the block as active work, so that no time is skipped."""
        self.start_work()
        try:
            yield
        finally:
            self.end_work()

    def start_work(self) -> None:
        """Like `working`, for work that ends elsewhere with `end_work`."""
        with self._lock:
            self._working += 1

    def end_work(self) -> None:
        """Ends work that `start_work` started."""
        with self._lock:
            self._working -= 1

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Interrupts active work inside the block, so that time can be skipped."""
        self.end_work()
        try:
            yield
        finally:
            self.start_work()

    def wait(self, seconds: float, needed: Callable[[], bool] = lambda: True) -> None:
        """Interrupts active work until `seconds` have passed or the wait is no longer needed."""
        wait = _Wait(self.now() + seconds)
        with self._lock:
            self._waits.add(wait)
            self._working -= 1
        while not wait.over.is_set() and needed() and (left := wait.until - self.now()) > 0:
            wait.over.wait(min(left, _POLL_SECONDS))
        with self._lock:
            self._end(wait)

    def add_timer(self, next_time: Callable[[], float | None], on_skip: Callable[[], None]) -> None:
        """Adds an external timer.

        `next_time` returns the time of its next event, or None; a time in the past means that work is about to start.
        `on_skip` is called after each skip.
        """
        self._times.append(next_time)
        self._callbacks.append(on_skip)

    def skip(self, until: float = math.inf) -> float:
        """Skips to the next scheduled time, or to `until` if earlier; returns the skipped seconds, 0 if work is active.

        Raises NothingScheduled when nothing is scheduled.
        """
        with self._lock:
            if self._working:
                return 0
            times = [*(wait.until for wait in self._waits), *(next_time() for next_time in self._times)]
            scheduled = [moment for moment in times if moment is not None]
            if not scheduled:
                raise NothingScheduled
            return self._move(min(until, *scheduled) - self.now())

    def advance(self, seconds: float) -> bool:
        """Skips `seconds` unless work is active; returns whether it did."""
        with self._lock:
            return not self._working and self._move(seconds) > 0

    def _move(self, seconds: float) -> float:
        if seconds <= 0:
            return 0
        _SECONDS.pack_into(self._skipped, 0, self.skipped + seconds)
        now = self.now()
        for wait in [wait for wait in self._waits if wait.until <= now]:
            self._end(wait)
        for on_skip in self._callbacks:
            on_skip()
        return seconds

    def _end(self, wait: _Wait) -> None:
        """Ends a wait once, either at a skip or in the waiting thread."""
        if wait in self._waits:
            self._waits.remove(wait)
            self._working += 1
            wait.over.set()


class FairSemaphore:
    """A semaphore in first-in, first-out order; waiting for it interrupts active work."""

    def __init__(self, count: int, clock: Clock) -> None:
        self._free = count
        self._clock = clock
        self._lock = Lock()
        self._waiting: deque[Event] = deque()

    def acquire(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            released = Event()
            self._waiting.append(released)
        # `release` starts the work again, so that no time is skipped before this thread continues.
        self._clock.end_work()
        released.wait()

    def release(self) -> None:
        with self._lock:
            if self._waiting:
                self._clock.start_work()
                self._waiting.popleft().set()
            else:
                self._free += 1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class NothingScheduled(Exception):
    """No work is active, and nothing is scheduled."""
