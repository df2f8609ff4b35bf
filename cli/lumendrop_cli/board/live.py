"""Keeps the page current: reads the ledger's index, executions, and figures, one read at a time.

On AWS there is at most one read per second, and none while no page is visible: a hidden page closes its connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from starlette.concurrency import run_in_threadpool

from lumendrop_cli import ledger, ledger_index, statuses
from lumendrop_cli.board import execution, header
from lumendrop_cli.board.card import Card, card, is_active
from lumendrop_cli.board.execution import Progress
from lumendrop_cli.errors import describe
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.stack import Stack
from lumendrop_cli.text import clean
from lumendrop_cli.workflow import correlation_id

MAX_CARDS = 200
MAX_ACTIVE = 2000
MAX_PAGES = 20
QUEUED_MESSAGES = 200  # of one page; it then has lost touch, and connects again

_RECENT = timedelta(hours=24)
_ACTIVE = timedelta(hours=27)  # longer than any execution
_PAGE = 200
_CLAIM_SECONDS = 60
_ERROR_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15
_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class Pace:
    """How often to read. `gap` is the shortest time between any two reads; all times are in seconds."""

    gap: float
    changes: float
    progress: float
    figures: float
    late: timedelta


# The index of AWS is eventually consistent, and the clocks of its functions differ by seconds.
ON_AWS = Pace(gap=1.0, changes=2.0, progress=2.0, figures=1.0, late=timedelta(seconds=15))
IN_SANDBOX = Pace(gap=0.03, changes=0.25, progress=0.3, figures=0.15, late=timedelta(seconds=3))


class Budget:
    """Reads that nobody asked for by hand take turns, with a gap between them."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Waits for the next turn."""
        async with self._lock:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self._gap


@dataclass
class _Job:
    """A read that is repeated every `seconds`."""

    seconds: float
    run: Callable[[], None]
    due: float = 0.0


@dataclass
class Reader:
    """What the page shows. Not thread-safe: one step runs at a time."""

    stack: Stack
    pace: Pace
    figures: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    is_complete: bool = False

    def __post_init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._progress: dict[str, Progress | None] = {}
        self._checked: dict[str, float] = {}
        self._pages: Iterator[list[Row]] | None = None
        self._newest = datetime.now(UTC) - timedelta(minutes=5)
        self._jobs = {
            "changes": _Job(self.pace.changes, self._read_changes),
            "progress": _Job(self.pace.progress, self._read_progress),
            **{
                source.name: _Job(source.seconds * self.pace.figures, lambda source=source: self._read_figure(source))  # type: ignore[misc]
                for source in header.SOURCES
            },
        }

    def step(self) -> dict[str, Any]:
        """Makes the read that is most overdue, if any is due. Returns what changed."""
        before = dict(self.figures)
        job = min(self._jobs.values(), key=lambda job: job.due)
        now = time.monotonic()
        if job.due > now:
            return {}
        job.due = now + job.seconds
        try:
            job.run()
            if before.get("problem"):
                self.figures["problem"] = None
        except Exception as error:  # noqa: BLE001  # shown on the page; the next step tries again
            job.due = now + max(job.seconds, _ERROR_SECONDS)
            self._pages = None
            self.figures["problem"] = clean(str(describe(error)))
        return self._changes(before)

    def expire(self, *names: str) -> None:
        """Reads these figures again at once, because the owner has changed something."""
        for name in names:
            self._jobs[name].due = 0.0

    def snapshot(self) -> dict[str, Any]:
        """Everything, for a page that has just connected."""
        return {"figures": self.figures, "cards": list(self.cards.values())}

    def row(self, key: str, version: str) -> Row | None:
        """The row of a card, as it was last read."""
        wanted = {"bucket": self.stack.output("InputBucketName"), "key": key, "version_id": version}
        return self._rows.get(correlation_id(wanted))

    def _changes(self, before: dict[str, Any]) -> dict[str, Any]:
        shown = self._shown()
        changed = [one for name, one in shown.items() if self.cards.get(name) != one]
        gone = [name for name in self.cards if name not in shown]
        self.cards = shown
        self.figures["complete"] = self.is_complete
        self.figures["running"] = sum(row["status"] == statuses.SUBMITTED for row in self._rows.values())
        figures = {name: one for name, one in self.figures.items() if before.get(name, self) != one}
        found = {"figures": figures, "cards": changed, "gone": gone}
        return {name: one for name, one in found.items() if one}

    def _shown(self) -> dict[str, Card]:
        """Uploads that are in progress first, then those that changed last."""

        def order(item: tuple[str, Row]) -> tuple[bool, str]:
            return is_active(item[1]), item[1].get("changed_at", "")

        found = sorted(self._rows.items(), key=order, reverse=True)
        kept = found[:MAX_ACTIVE]
        for name, _ in found[MAX_ACTIVE:]:
            del self._rows[name]
            self._progress.pop(name, None)
        return {name: card(row, self._progress.get(name)) for name, row in kept[:MAX_CARDS]}

    def _read_changes(self) -> None:
        if self._pages is None:
            self._pages = self._first_pages() if not self.is_complete else self._later_pages()
        page = next(self._pages, None)
        if page is None:
            self._pages, self.is_complete = None, True
            return
        self._jobs["changes"].due = time.monotonic()  # until the last page
        for row in page:
            self._take(row)

    def _first_pages(self) -> Iterator[list[Row]]:
        now = datetime.now(UTC)
        in_progress = Filter(statuses=tuple(sorted(statuses.IN_PROGRESS)), since=now - _ACTIVE)
        return chain(self._recent(now), ledger_index.pages(self.stack, in_progress))

    def _recent(self, now: datetime) -> Iterator[list[Row]]:
        found = 0
        for page in ledger_index.pages(self.stack, Filter(since=now - _RECENT), limit=_PAGE):
            yield page
            found += len(page)
            if found >= _PAGE:
                return

    def _later_pages(self) -> Iterator[list[Row]]:
        return ledger_index.pages(self.stack, Filter(since=self._newest - self.pace.late))

    def _take(self, row: Row) -> None:
        name = correlation_id(row)
        known = self._rows.get(name)
        if known and known.get("changed_at", "") > row.get("changed_at", ""):
            return
        if known and known["attempt"] != row["attempt"]:
            self._progress.pop(name, None)
        if not is_active(row):
            self._progress.pop(name, None)
        self._rows[name] = row
        with suppress(ValueError):
            self._newest = max(self._newest, datetime.fromisoformat(row.get("changed_at", "")))

    def _read_progress(self) -> None:
        """Reads the execution of one paid task, or the row of one old claim: a claim that is undone leaves no trace."""
        now = time.monotonic()
        waiting = [name for name, row in self._rows.items() if row["status"] in (statuses.SUBMITTED, statuses.CLAIMED)]
        self._checked = {name: self._checked.get(name, now - _CLAIM_SECONDS / 2) for name in waiting}
        due = [name for name in waiting if self._is_due(name, now)]
        if not due:
            return
        name = min(due, key=self._checked.__getitem__)
        row, self._checked[name] = self._rows[name], now
        if row["status"] == statuses.SUBMITTED:
            self._progress[name] = execution.progress(self.stack, row)
        else:
            found = ledger.row_of(self.stack, row["key"], row["version_id"])
            if found is None:
                del self._rows[name]
            else:
                self._rows[name] = row | found
        if len(due) > 1:
            self._jobs["progress"].due = now + self.pace.gap

    def _is_due(self, name: str, now: float) -> bool:
        seconds = _CLAIM_SECONDS if self._rows[name]["status"] == statuses.CLAIMED else self.pace.progress
        return now - self._checked[name] >= seconds

    def _read_figure(self, source: header.Source) -> None:
        self.figures[source.name] = source.read(self.stack)


class Feed:
    """Sends what the reader finds to every page that is connected, as server-sent events."""

    def __init__(self, reader: Reader, budget: Budget, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._reader = reader
        self._budget = budget
        self._is_stopping = is_stopping
        self._pages: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many pages are connected as are served."""
        return len(self._pages) >= MAX_PAGES

    async def events(self) -> AsyncIterator[str]:
        """The events of one page: everything once, then each change. Ends with the server, or if a page is too slow."""
        if self.is_full:
            return
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUED_MESSAGES)
        self._pages.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        sent = time.monotonic()
        try:
            yield _event("snapshot", self._reader.snapshot())
            while queue in self._pages and not self._is_stopping():
                with suppress(TimeoutError):
                    yield await asyncio.wait_for(queue.get(), _CHECK_SECONDS)
                    sent = time.monotonic()
                if time.monotonic() - sent > _KEEP_ALIVE_SECONDS:
                    yield ": keep-alive\n\n"
                    sent = time.monotonic()
        finally:
            self._pages.discard(queue)

    def expire(self, *names: str) -> None:
        """See `Reader.expire`."""
        self._reader.expire(*names)

    def row(self, key: str, version: str) -> Row | None:
        """See `Reader.row`."""
        return self._reader.row(key, version)

    async def _run(self) -> None:
        while self._pages:
            await self._budget.turn()
            if changes := await run_in_threadpool(self._reader.step):
                self._send(_event("change", changes))

    def _send(self, event: str) -> None:
        for queue in list(self._pages):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._pages.discard(queue)


def _event(name: str, data: dict[str, Any]) -> str:
    """JSON has no line breaks, so one line of data is enough."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'), default=str)}\n\n"
