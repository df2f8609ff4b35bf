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
_GAP_SECONDS = (0.001, 10.0)
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

    `gap` is the seconds between two sends at `since`, when the vendor had refused some; `in_a_row` says how many times,
    with nothing taken in between or since. `accepted` were sent since `counted_from` and not refused; `best` is the
    most in a second that was accepted over two minutes, the older the less.
    """

    refusals: int
    in_a_row: int
    gap: float
    since: float
    next_at: float
    counted_from: float
    accepted: int = 0
    best: float = 0

    def present_gap(self, now: float) -> float:
        """Seconds between two sends now."""
        return self.gap / (1 + _FASTER_A_SECOND * max(0.0, now - self.since))

    def is_forgotten(self, now: float) -> bool:
        """Whether the vendor has refused nothing for so long that it may be asked at full speed again."""
        return now - self.since > _FORGOTTEN_SECONDS

    def booked(self, now: float, *, taken: bool) -> tuple[State, float]:
        """The state with the next free turn taken, and that turn.

        The first send after a refusal goes alone: if it is refused, too, the others need not hear it for themselves.
        """
        turn = max(self.next_at, now)
        gap = self.present_gap(now)
        if self.next_at <= self.since:
            gap = max(gap, _PROBE_SECONDS)
        in_a_row = 0 if taken else self.in_a_row
        state = self._counted(now)
        booked = {"in_a_row": in_a_row, "next_at": turn + gap, "accepted": state.accepted + 1}
        return msgspec.structs.replace(state, **booked), turn

    def _counted(self, now: float) -> State:
        seconds = now - self.counted_from
        if seconds < _WINDOW_SECONDS:
            return self
        best = max(_KEPT * self.best, self.accepted / seconds)
        return msgspec.structs.replace(self, counted_from=now, accepted=0, best=best)

    def refused(self, now: float, seconds: float, *, too_fast: bool, taken: bool) -> State:
        """The state after one more refusal, nothing to be sent for so many `seconds` at least."""
        before = 0 if taken else self.in_a_row
        pause = min(_FIRST_PAUSE_SECONDS * (2 ** min(before, 10) - 1), _LONGEST_PAUSE_SECONDS)
        gap = self.present_gap(now) * (_SLOWER if too_fast else 1)
        longest = 1 / (_SLOWEST_OF_BEST * self.best) if self.best else _GAP_SECONDS[1]
        at = now + max(seconds, pause)
        return msgspec.structs.replace(
            self,
            refusals=self.refusals + 1,
            in_a_row=before + 1,
            gap=max(min(gap, longest, _GAP_SECONDS[1]), _GAP_SECONDS[0]),
            since=at,
            next_at=at,
            accepted=self.accepted - 1,
        )


class Row(Protocol):
    """Where the state is shared."""

    def read(self) -> State | None:
        """The state as it is; None when nothing was ever refused."""
        ...

    def write(self, new: State, over: State | None) -> bool:
        """Writes the state if the one there is still `over`, and says whether it was."""
        ...


class Pace:
    """One warm function's part in the pace; `functions` is how many there can be."""

    def __init__(self, row: Row, functions: int, now: Callable[[], float] = time.time) -> None:
        self._row = row
        self._functions = functions
        self._now = now
        self._seen: State | None = None
        self._taken = False
        self._sent_at: float | None = None
        self._interval = 1.0

    def turn(self, room: float) -> float | None:
        """Seconds until this function may send, 0 as long as nothing was refused; None if that is not within `room`.

        Where the turn can't be booked, as the ledger is throttled or many want it, it is taken beside somebody else.
        """
        wait = 0.0
        for _ in range(_BOOKINGS):
            now, found = self._now(), self._row.read()
            if _refusals(found) != _refusals(self._seen):
                self._taken = False  # that was before the refusal
            self._seen = found
            if found is None or found.is_forgotten(now):
                return 0.0
            if found.next_at > now + room:
                return None
            booked, turn = found.booked(now, taken=self._taken)
            wait = turn - now
            if self._row.write(booked, found):
                self._taken = False
                break
        return wait

    def holds(self) -> bool:
        """Whether nothing was refused since the turn was taken, so that it still is one."""
        return _refusals(self._row.read()) == _refusals(self._seen)

    def sent(self) -> None:
        """To be said right before each send."""
        now = self._now()
        if self._sent_at is not None:
            self._interval = now - self._sent_at
        self._sent_at = now

    def taken(self) -> None:
        """The vendor took the last send."""
        self._taken = True

    def refused(self, seconds: float = 0, *, too_fast: bool) -> None:
        """The vendor refused the last send, for being too fast or for being away; it wants nothing for so long."""
        found = self._row.read()
        if _refusals(found) == _refusals(self._seen):  # or else the others have slowed down since, and know
            now = self._now()
            state = found if found and not found.is_forgotten(now) else self._full_speed(found, now, too_fast)
            self._row.write(state.refused(now, seconds, too_fast=too_fast, taken=self._taken), found)
        self._taken = False

    def _full_speed(self, found: State | None, now: float, too_fast: bool) -> State:
        gap = min(self._interval, 1.0) / self._functions * (_FIRST_SLOWER if too_fast else 1)
        return State(_refusals(found), 0, gap, now, now, now)


class LedgerRow:
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

    def write(self, new: State, over: State | None) -> bool:
        item = {name: {"N": repr(value)} for name, value in msgspec.structs.asdict(new).items()}
        condition: Any = {"ConditionExpression": "attribute_not_exists(pk)"}
        if over:
            values = {":refusals": {"N": repr(over.refusals)}, ":next_at": {"N": repr(over.next_at)}}
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
