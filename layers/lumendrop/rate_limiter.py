"""A rate limiter that all warm functions share. It finds the vendor's limit by trial.

Each 429 slows all functions down by 15 %; afterwards the rate recovers gradually. The rate never falls far below the
best rate that the vendor accepted recently over two minutes, so that random refusals do not slow it down further and
further. Consecutive refusals, as in an outage, make all functions pause, longer each time. Then one of them sends a
request that costs nothing, and one photo if that succeeds; the others wait for the answer. A submit without a clear
answer counts as a refusal. The state is one row in the ledger's table, which is not written before the first refusal.
If the row can't be read or written, a function sends without a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SLOWER = 1.15
_FIRST_SLOWER = 2  # by how much full speed exceeds the limit is unknown
_FASTER_A_SECOND = 0.0015
_INTERVAL_SECONDS = (0.001, 10.0)
_PROBE_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 2
_LONGEST_PAUSE_SECONDS = 60
_LONGEST_AMBIGUOUS_PAUSE_SECONDS = 900
_TRIAL_SECONDS = 50  # the free request, the claim, and the POST of one photo
_RECHECK_SECONDS = 5
_FORGOTTEN_SECONDS = 600
_WINDOW_SECONDS = 120
_KEPT = 0.9  # the share of the best rate kept from one window to the next, as the vendor may have become slower
_SLOWEST_OF_BEST = 0.85
_RESERVATION_TRIES = 5


class State(msgspec.Struct, frozen=True):
    """The shared state. Times are in seconds since the epoch. `next_at` is the next free slot.

    `refusals` counts all refusals so far, `consecutive_refusals` those since the vendor last accepted a task.
    `interval` is the number of seconds between two sends at `since`, the end of the pause after the last refusal.
    `accepted` counts the sends since `counted_from` that were not refused. `best` is the highest rate per second that
    was accepted over two minutes; it decays. `in_outage` is 1 from a refusal other than 429 until the vendor accepts a
    task. `ambiguous` counts the submits without a clear answer since then.
    """

    refusals: int
    consecutive_refusals: int
    interval: float
    since: float
    next_at: float
    counted_from: float
    accepted: int = 0
    best: float = 0
    in_outage: int = 0
    ambiguous: int = 0

    def current_interval(self, now: float) -> float:
        """Seconds between two sends now."""
        return self.interval / (1 + _FASTER_A_SECOND * max(0.0, now - self.since))

    def is_forgotten(self, now: float) -> bool:
        """Whether the last refusal is so long ago that functions send at full speed again."""
        return not self.in_outage and now - self.since > _FORGOTTEN_SECONDS

    def reserve(self, now: float, *, accepted: bool) -> tuple[State, float]:
        """The state with the next free slot reserved, and the time of that slot.

        The first send after a refusal is a probe: the next slot is at least a second later, so that a second refusal
        stops the other functions before they send. In an outage, the next slot is after the answer.
        """
        slot = max(self.next_at, now)
        interval = self.current_interval(now)
        if self.in_outage:
            interval = _TRIAL_SECONDS
        elif self.next_at <= self.since:
            interval = max(interval, _PROBE_SECONDS)
        consecutive_refusals = 0 if accepted else self.consecutive_refusals
        state = self._counted(now)
        reserved = {
            "consecutive_refusals": consecutive_refusals,
            "next_at": slot + interval,
            "accepted": state.accepted + 1,
        }
        return msgspec.structs.replace(state, **reserved), slot

    def _counted(self, now: float) -> State:
        seconds = now - self.counted_from
        if seconds < _WINDOW_SECONDS:
            return self
        best = max(_KEPT * self.best, self.accepted / seconds)
        return msgspec.structs.replace(self, counted_from=now, accepted=0, best=best)

    def after_outage(self, now: float) -> State:
        """The state after the vendor has accepted a task in an outage."""
        normal = {"in_outage": 0, "ambiguous": 0, "consecutive_refusals": 0}
        return msgspec.structs.replace(self, **normal, since=now, next_at=now + self.interval)

    def after_refusal(
        self, now: float, seconds: float, *, too_fast: bool, accepted: bool, ambiguous: bool = False
    ) -> State:
        """The state after another refusal. The next slot is at least `seconds` later."""
        before = 0 if accepted else self.consecutive_refusals
        pause = min(_FIRST_PAUSE_SECONDS * (2 ** min(before, 10) - 1), _LONGEST_PAUSE_SECONDS)
        unclear = (0 if accepted else self.ambiguous) + ambiguous
        if ambiguous:
            growing = _FIRST_PAUSE_SECONDS * (2 ** min(unclear - 1, 10) - 1)
            pause = max(pause, min(growing, _LONGEST_AMBIGUOUS_PAUSE_SECONDS))
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
            in_outage=int(not too_fast or bool(self.in_outage and not accepted)),
            ambiguous=unclear,
        )


class RateStore(Protocol):
    """Where the functions share the state."""

    def read(self) -> State | None:
        """The current state, or None if nothing was refused yet."""
        ...

    def write(self, new: State, previous: State | None) -> bool:
        """Writes the state if the stored one is still `previous`. Returns whether it was."""
        ...


class RateLimiter:
    """The rate limiter of one warm function. `functions` is the maximum number of concurrent functions."""

    def __init__(
        self,
        store: RateStore,
        functions: int,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._functions = functions
        self._now = now
        self._sleep = sleep
        self._seen: State | None = None
        self._accepted = False
        self._sent_at: float | None = None
        self._own_interval = 1.0

    def wait(self, deadline: float) -> bool:
        """Waits until this function may send, and returns True. Returns False at `deadline` if no slot is free by then.

        A slot that another function's refusal has made invalid is acquired again.
        """
        while True:
            seconds = self.acquire(deadline - self._now())
            if seconds is None:
                left = deadline - self._now()
                if left <= 0:
                    return False
                self._sleep(min(left, _RECHECK_SECONDS))  # a success can end an outage before the next slot
            else:
                self._sleep(seconds)
                if not seconds or self.is_still_valid():
                    return True

    @property
    def must_probe(self) -> bool:
        """Whether a request that costs nothing has to succeed before this function sends a photo."""
        return bool(self._seen and self._seen.in_outage)

    def acquire(self, within: float) -> float | None:
        """Seconds until this function may send: 0 before the first refusal, None if that is later than `within`.

        If the slot can't be reserved, because the ledger is throttled or many functions compete, it is used without a
        reservation.
        """
        wait = 0.0
        for _ in range(_RESERVATION_TRIES):
            now, found = self._now(), self._store.read()
            if _refusals(found) != _refusals(self._seen):
                self._accepted = False  # the accepted task came before the refusal
            self._seen = found
            if found is None or found.is_forgotten(now):
                return 0.0
            if found.next_at > now + within:
                return None
            reserved, slot = found.reserve(now, accepted=self._accepted)
            wait = slot - now
            if self._store.write(reserved, found):
                self._accepted = False
                break
        return wait

    def is_still_valid(self) -> bool:
        """Whether nothing was refused since the slot was acquired."""
        return _refusals(self._store.read()) == _refusals(self._seen)

    def on_send(self) -> None:
        """Must be called immediately before each send."""
        now = self._now()
        if self._sent_at is not None:
            self._own_interval = now - self._sent_at
        self._sent_at = now

    def on_accepted(self) -> None:
        """The vendor accepted the last send, which ends an outage."""
        self._accepted = True
        if self.must_probe and (found := self._store.read()) and _refusals(found) == _refusals(self._seen):
            self._store.write(found.after_outage(self._now()), found)

    def on_unused(self) -> None:
        """The reserved slot was not used, or the answer tells nothing about an outage. Another function may try."""
        if self.must_probe and (found := self._store.read()) and _refusals(found) == _refusals(self._seen):
            self._store.write(msgspec.structs.replace(found, next_at=self._now()), found)

    def on_throttled(self, seconds: float = 0, *, too_fast: bool, ambiguous: bool = False) -> None:
        """The vendor refused the last send with 429 (`too_fast`), was unavailable, or gave no clear answer.

        Nothing is sent for `seconds`.
        """
        found = self._store.read()
        if _refusals(found) == _refusals(self._seen):  # otherwise, this refusal is already taken into account
            now = self._now()
            state = found if found and not found.is_forgotten(now) else self._full_speed(found, now, too_fast)
            refused = state.after_refusal(now, seconds, too_fast=too_fast, accepted=self._accepted, ambiguous=ambiguous)
            self._store.write(refused, found)
        self._accepted = False

    def _full_speed(self, found: State | None, now: float, too_fast: bool) -> State:
        interval = min(self._own_interval, 1.0) / self._functions * (_FIRST_SLOWER if too_fast else 1)
        return State(_refusals(found), 0, interval, now, now, now)


class DynamoDBRateStore:
    """A row in the ledger's table `table`. A row that can't be read or written counts as missing."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        # Named after its fields: during an update, old and new functions may have different ones.
        fields = " ".join(State.__struct_fields__)
        self._row: Any = {"TableName": table, "Key": {"pk": {"S": "rate_limit"}, "sk": {"S": fields}}}

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
