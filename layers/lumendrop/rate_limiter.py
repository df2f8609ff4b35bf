"""How fast the warm functions send between them: as fast as the vendor takes it, found out by trying.

A refusal for being too fast slows them all down by a tenth, and then the pace comes back by and by; but never far below
what the vendor took in its best two minutes of late, or one that refuses at random would be asked ever more seldom.
Refusals with nothing taken in between, as while the vendor is away, make all of them pause, longer each time, and one
of them ask. All of it is one row of the ledger, which nobody writes until the vendor has refused something. Nothing
hangs on it: where it can't be had, a function sends without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SLOWER = 1.1
_FIRST_SLOWER = 2  # all functions at full speed were too fast; nobody knows by how much
_FASTER_A_SECOND = 0.0015
_INTERVAL_SECONDS = (0.001, 10.0)
_PROBE_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 2
_LONGEST_PAUSE_SECONDS = 60
_FORGOTTEN_SECONDS = 600
_WINDOW_SECONDS = 120
_KEPT = 0.9  # of the best, from one window to the next: the vendor may have become slower
_SLOWEST_OF_BEST = 0.85
_BOOKINGS = 5


class State(msgspec.Struct, frozen=True):
    """The shared pace after so many `refusals`. Times in seconds since the epoch; `next_at` is the next free turn.

    `interval` is the number of seconds between two sends at `since`, the time of the last refusal.
    `consecutive_refusals` counts the refusals since the vendor last accepted a task. `accepted` counts the sends since
    `counted_from` that were not refused. `best` is the highest rate per second that was accepted over two minutes; it
    decays with age.
    """

    refusals: int
    consecutive_refusals: int
    interval: float
    since: float
    next_at: float
    counted_from: float
    accepted: int = 0
    best: float = 0

    def current_interval(self, now: float) -> float:
        """Seconds between two sends now."""
        return self.interval / (1 + _FASTER_A_SECOND * max(0.0, now - self.since))

    def is_forgotten(self, now: float) -> bool:
        """Whether the vendor has refused nothing for so long that it may be asked at full speed again."""
        return now - self.since > _FORGOTTEN_SECONDS

    def reserve(self, now: float, *, accepted: bool) -> tuple[State, float]:
        """The state with the next free turn taken, and that turn.

        The first send after a refusal goes alone: if it is refused, too, the others need not hear it for themselves.
        """
        turn = max(self.next_at, now)
        interval = self.current_interval(now)
        if self.next_at <= self.since:
            interval = max(interval, _PROBE_SECONDS)
        consecutive_refusals = 0 if accepted else self.consecutive_refusals
        state = self._counted(now)
        reserved = {
            "consecutive_refusals": consecutive_refusals,
            "next_at": turn + interval,
            "accepted": state.accepted + 1,
        }
        return msgspec.structs.replace(state, **reserved), turn

    def _counted(self, now: float) -> State:
        seconds = now - self.counted_from
        if seconds < _WINDOW_SECONDS:
            return self
        best = max(_KEPT * self.best, self.accepted / seconds)
        return msgspec.structs.replace(self, counted_from=now, accepted=0, best=best)

    def after_refusal(self, now: float, seconds: float, *, too_fast: bool, accepted: bool) -> State:
        """The state after one more refusal, nothing to be sent for so many `seconds` at least."""
        before = 0 if accepted else self.consecutive_refusals
        pause = min(_FIRST_PAUSE_SECONDS * (2 ** min(before, 10) - 1), _LONGEST_PAUSE_SECONDS)
        interval = self.current_interval(now) * (_SLOWER if too_fast else 1)
        longest = 1 / (_SLOWEST_OF_BEST * self.best) if self.best else _INTERVAL_SECONDS[1]
        at = now + max(seconds, pause)
        return msgspec.structs.replace(
            self,
            refusals=self.refusals + 1,
            consecutive_refusals=before + 1,
            interval=max(min(interval, longest, _INTERVAL_SECONDS[1]), _INTERVAL_SECONDS[0]),
            since=at,
            next_at=at,
            accepted=self.accepted - 1,
        )


class RateStore(Protocol):
    """Where the state is shared."""

    def read(self) -> State | None:
        """The state as it is; None when nothing was ever refused."""
        ...

    def write(self, new: State, previous: State | None) -> bool:
        """Writes the state if the one there is still `previous`, and says whether it was."""
        ...


class RateLimiter:
    """One warm function's part in the pace; `functions` is how many there can be."""

    def __init__(self, store: RateStore, functions: int, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._functions = functions
        self._now = now
        self._seen: State | None = None
        self._accepted = False
        self._sent_at: float | None = None
        self._own_interval = 1.0

    def acquire(self, room: float) -> float | None:
        """Seconds until this function may send, 0 as long as nothing was refused; None if that is not within `room`.

        Where the turn can't be reserved, as the ledger is throttled or many want it, it is taken beside somebody else.
        """
        wait = 0.0
        for _ in range(_BOOKINGS):
            now, found = self._now(), self._store.read()
            if _refusals(found) != _refusals(self._seen):
                self._accepted = False  # that was before the refusal
            self._seen = found
            if found is None or found.is_forgotten(now):
                return 0.0
            if found.next_at > now + room:
                return None
            reserved, turn = found.reserve(now, accepted=self._accepted)
            wait = turn - now
            if self._store.write(reserved, found):
                self._accepted = False
                break
        return wait

    def is_still_valid(self) -> bool:
        """Whether nothing was refused since the turn was taken, so that it still is one."""
        return _refusals(self._store.read()) == _refusals(self._seen)

    def on_send(self) -> None:
        """To be said right before each send."""
        now = self._now()
        if self._sent_at is not None:
            self._own_interval = now - self._sent_at
        self._sent_at = now

    def on_accepted(self) -> None:
        """The vendor took the last send."""
        self._accepted = True

    def on_throttled(self, seconds: float = 0, *, too_fast: bool) -> None:
        """The vendor refused the last send, for being too fast or for being away; it wants nothing for so long."""
        found = self._store.read()
        if _refusals(found) == _refusals(self._seen):  # or else the others have slowed down since, and know
            now = self._now()
            state = found if found and not found.is_forgotten(now) else self._full_speed(found, now, too_fast)
            self._store.write(state.after_refusal(now, seconds, too_fast=too_fast, accepted=self._accepted), found)
        self._accepted = False

    def _full_speed(self, found: State | None, now: float, too_fast: bool) -> State:
        interval = min(self._own_interval, 1.0) / self._functions * (_FIRST_SLOWER if too_fast else 1)
        return State(_refusals(found), 0, interval, now, now, now)


class DynamoDBRateStore:
    """The row of the ledger's table `table`. One that can't be read or written is as good as none."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        # Named after its fields: during an update, functions before and after it may not be able to read each other's.
        format_ = " ".join(State.__struct_fields__)
        self._row: Any = {"TableName": table, "Key": {"pk": {"S": "pace"}, "sk": {"S": format_}}}

    def read(self) -> State | None:
        try:
            item = self._client.get_item(**self._row, ConsistentRead=True).get("Item")
        except (BotoCoreError, ClientError):
            return None
        if item is None:
            return None
        return msgspec.convert({name: item[name]["N"] for name in State.__struct_fields__}, State, strict=False)

    def write(self, new: State, previous: State | None) -> bool:
        item = {name: {"N": repr(value)} for name, value in msgspec.structs.asdict(new).items()}
        condition: Any = {"ConditionExpression": "attribute_not_exists(pk)"}
        if previous:
            values = {":refusals": {"N": repr(previous.refusals)}, ":next_at": {"N": repr(previous.next_at)}}
            condition = {
                "ConditionExpression": "refusals = :refusals AND next_at = :next_at",
                "ExpressionAttributeValues": values,
            }
        try:
            self._client.put_item(TableName=self._row["TableName"], Item={**self._row["Key"], **item}, **condition)
        except (BotoCoreError, ClientError):
            return False
        return True


def _refusals(state: State | None) -> int:
    return state.refusals if state else 0
