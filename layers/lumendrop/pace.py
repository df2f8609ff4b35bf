"""How fast the warm functions send between them: as fast as the vendor takes it, found out by trying.

A refusal for being too fast slows them all down at once. Then every task that is taken brings the pace back: fast while
it is well below the one that was refused, slowly near it, and fast again far beyond, as TCP's CUBIC does it. The pace
is one row of the ledger, which nobody reads or writes until the vendor has refused something. Nothing hangs on it:
where the row can't be had, a function sends without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SLOW_DOWN = 0.1
_FIRST_SLOW_DOWN = 0.5  # until so many were taken in a row, the pace is still being looked for:
_FIRST_TAKEN = 12
_BELOW = 0.06  # so far below the refused pace it comes back fast
_BACK_TAKEN = 10
_CREEP = 0.0003
_LEAP_TAKEN = 300
_SECONDS_A_TASK = 2  # time that passes counts as tasks taken do, so that bad luck is forgotten at a slow pace, too
_ECHO_TAKEN = 3
_ECHO_SECONDS = 4
_GAP_SECONDS = (0.001, 10.0)
_STALE_SECONDS = 600
_BOOKINGS = 5


class State(msgspec.Struct, frozen=True):
    """The shared pace after so many `refusals`. Times in seconds since the epoch; `next_at` is the next free turn.

    `gap` seconds between two sends were refused at `since`, and since then the vendor took `taken` tasks.
    """

    refusals: int
    gap: float
    slow_down: float
    taken: int
    since: float
    next_at: float

    def present_gap(self, now: float) -> float:
        """Seconds between two sends now."""
        taken = self.taken + max(0, now - self.since) / _SECONDS_A_TASK
        back = 1 - _BELOW - (self.slow_down - _BELOW) * math.exp(-taken / _BACK_TAKEN)
        beyond = _CREEP * taken + (max(0, taken - _LEAP_TAKEN) / _LEAP_TAKEN) ** 2
        return self.gap / (back + beyond)


class Row(Protocol):
    """Where the state is shared."""

    def read(self) -> State | None:
        """The state as it is; None when nothing was ever refused."""
        ...

    def book(self, gap: float, taken: int, now: float, latest: float) -> tuple[State | None, float | None]:
        """Takes the next free turn, if it is not after `latest`, and leaves `gap` to the next; notes tasks taken.

        Returns the state and the turn.
        """
        ...

    def refuse(self, seen: State | None, state: State, stale: float) -> State | None:
        """Writes `state` over the one that was seen; if none was, over any from before `stale`.

        Returns what is there then.
        """
        ...


class Pace:
    """One warm function's part in the pace; `functions` is how many there can be."""

    def __init__(self, row: Row, functions: int, now: Callable[[], float] = time.time) -> None:
        self._row = row
        self._functions = functions
        self._now = now
        self._state: State | None = None
        self._taken = 0
        self._sent_at: float | None = None
        self._interval = 1.0

    def turn(self, room: float) -> float | None:
        """Seconds until this function may send, 0 as long as nothing was refused; None if that is not within `room`."""
        if self._state is None:
            return 0.0
        now = self._now()
        self._state, turn = self._row.book(self._state.present_gap(now), self._taken, now, now + room)
        self._taken = 0
        if self._state is None:
            return 0.0
        return None if turn is None else max(0.0, turn - now)

    def holds(self) -> bool:
        """Whether nothing was refused since the turn was taken, so that it still is one."""
        if self._state is None:
            return True
        booked, self._state = self._state, self._row.read()
        return self._state is None or self._state.refusals == booked.refusals

    def sent(self) -> None:
        """To be said right before each send."""
        now = self._now()
        if self._sent_at is not None:
            self._interval = now - self._sent_at
        self._sent_at = now

    def taken(self) -> None:
        """The vendor took the last send."""
        self._taken += 1

    def refused(self, seconds: float) -> None:
        """The vendor refused the last send for being too fast, and wants nothing for so many seconds."""
        now = self._now()
        new = self._slower(self._state, now, now + seconds)
        self._state, self._taken = self._row.refuse(self._state, new, now - _STALE_SECONDS), 0

    def _slower(self, seen: State | None, now: float, at: float) -> State:
        if seen and seen.taken < _ECHO_TAKEN and now < seen.since + _ECHO_SECONDS:
            # Sent before the others slowed down; it says nothing about the new pace.
            return msgspec.structs.replace(seen, refusals=seen.refusals + 1, next_at=max(seen.next_at, at))
        gap = seen.present_gap(now) if seen else min(self._interval, 1.0) / self._functions
        return State(
            refusals=seen.refusals + 1 if seen else 1,
            gap=min(max(gap, _GAP_SECONDS[0]), _GAP_SECONDS[1]),
            slow_down=_SLOW_DOWN if seen and seen.taken >= _FIRST_TAKEN else _FIRST_SLOW_DOWN,
            taken=0,
            since=at,
            next_at=at,
        )


class LedgerRow:
    """The row of the ledger's table `table`. One that can't be read or written is as good as none."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._row: Any = {"TableName": table, "Key": {"pk": {"S": "pace"}, "sk": {"S": "submits"}}}

    def read(self) -> State | None:
        try:
            return _state(self._client.get_item(**self._row, ConsistentRead=True).get("Item"))
        except (BotoCoreError, ClientError):
            return None

    def book(self, gap: float, taken: int, now: float, latest: float) -> tuple[State | None, float | None]:
        for _ in range(_BOOKINGS):
            found = self.read()
            if found is None or found.next_at > latest:
                return found, None
            turn = max(found.next_at, now)
            new = msgspec.structs.replace(found, taken=found.taken + taken, next_at=turn + gap)
            if self._write(new, found):
                return new, turn
        return self.read(), None

    def refuse(self, seen: State | None, state: State, stale: float) -> State | None:
        found = self.read()
        if found and (found.refusals != seen.refusals if seen else found.since > stale):
            return found  # another function has slowed down already
        new = msgspec.structs.replace(state, refusals=found.refusals + 1 if found else 1)
        return new if self._write(new, found) else self.read()

    def _write(self, new: State, over: State | None) -> bool:
        """Writes the state if the row is still `over`, and says whether it was."""
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
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        except (BotoCoreError, ClientError):
            return False
        return True


def _state(item: Any) -> State | None:
    if not item:
        return None
    numbers = {name: float(item[name]["N"]) for name in State.__struct_fields__}
    return msgspec.convert(numbers | {"refusals": int(numbers["refusals"]), "taken": int(numbers["taken"])}, State)
