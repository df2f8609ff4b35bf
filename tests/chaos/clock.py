"""A clock that skips: real time, plus what was skipped while nothing was under way.

With such a clock, a cloud waits for nothing: as soon as everybody in it only waits, time goes on to the moment when
the first of them is due. Queues' delays and visibility, workflows' waits and retries, their `$millis()` and `$now()`,
and in the functions `time.time()`, `time.monotonic()` and `time.sleep()` all follow it. Time-outs of what is under way
stay real and whole: no time is skipped meanwhile.
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
# How often a wait looks whether it is still wanted.
_LOOK_SECONDS = 0.5


@dataclass(eq=False)
class _Wait:
    until: float
    over: Event = field(default_factory=Event)


class Clock:
    """The time in one cloud.

    What is under way says so with `working`, and rests from it with `resting` or `wait`.
    """

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="lumendrop-clock-")  # noqa: SIM115  # closed by close()
        self._file.write(_SECONDS.pack(0.0))
        self._file.flush()
        self._skipped = mmap.mmap(self._file.fileno(), _SECONDS.size)
        self._lock = Lock()
        self._working = 0
        self._waits: set[_Wait] = set()
        self._dates: list[Callable[[], float | None]] = []
        self._alarms: list[Callable[[], None]] = []

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
        """Whether something is under way."""
        return self._working > 0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.skipped

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let no time be skipped inside."""
        self.start_work()
        try:
            yield
        finally:
            self.end_work()

    def start_work(self) -> None:
        """`working`, for work that ends elsewhere, in `end_work`."""
        with self._lock:
            self._working += 1

    def end_work(self) -> None:
        """The end of what `start_work` began."""
        with self._lock:
            self._working -= 1

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let time be skipped inside, in the middle of one's work."""
        self.end_work()
        try:
            yield
        finally:
            self.start_work()

    def wait(self, seconds: float, wanted: Callable[[], bool] = lambda: True) -> None:
        """Rest from one's work until so many seconds have passed, or it is wanted no more."""
        wait = _Wait(self.now() + seconds)
        with self._lock:
            self._waits.add(wait)
            self._working -= 1
        while not wait.over.is_set() and wanted() and (left := wait.until - self.now()) > 0:
            wait.over.wait(min(left, _LOOK_SECONDS))
        with self._lock:
            self._end(wait)

    def follow(self, date: Callable[[], float | None], alarm: Callable[[], None]) -> None:
        """Let somebody else wait by this clock, too.

        `date` says until when, None for nothing; one in the past, that something is about to be done. `alarm` is
        called when time was skipped.
        """
        self._dates.append(date)
        self._alarms.append(alarm)

    def skip(self, until: float = math.inf) -> float:
        """Go on to the next date, or `until` if that comes first; the seconds skipped, 0 if something is under way.

        Raises NothingAhead when nobody waits for anything.
        """
        with self._lock:
            if self._working:
                return 0
            dates = [*(wait.until for wait in self._waits), *(date() for date in self._dates)]
            known = [date for date in dates if date is not None]
            if not known:
                raise NothingAhead
            return self._move(min(until, *known) - self.now())

    def move(self, seconds: float) -> bool:
        """Skip so many seconds, if nothing is under way; whether it did."""
        with self._lock:
            return not self._working and self._move(seconds) > 0

    def _move(self, seconds: float) -> float:
        if seconds <= 0:
            return 0
        _SECONDS.pack_into(self._skipped, 0, self.skipped + seconds)
        now = self.now()
        for wait in [wait for wait in self._waits if wait.until <= now]:
            self._end(wait)
        for alarm in self._alarms:
            alarm()
        return seconds

    def _end(self, wait: _Wait) -> None:
        """Once for each wait: by whoever skips its rest, or by the one who waited."""
        if wait in self._waits:
            self._waits.remove(wait)
            self._working += 1
            wait.over.set()


class Turns:
    """So many at a time, first come, first served; waiting for a turn is rest from one's work."""

    def __init__(self, many: int, clock: Clock) -> None:
        self._free = many
        self._clock = clock
        self._lock = Lock()
        self._waiting: deque[Event] = deque()

    def acquire(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = Event()
            self._waiting.append(turn)
        # Whoever gives the turn counts it as work: between the two no time can be skipped.
        self._clock.end_work()
        turn.wait()

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


class NothingAhead(Exception):
    """Nothing is under way, and nobody waits for anything."""
