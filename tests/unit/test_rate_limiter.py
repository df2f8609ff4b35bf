"""The rate limiter that the warm functions share: it follows the limit of the vendor."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from lumendrop.rate_limiter import DynamoDBRateStore, RateLimiter, RateStore, State
from tests.unit.conftest import Clock
from tests.unit.world import World

FUNCTIONS = 5


@pytest.fixture
def row(world: World) -> DynamoDBRateStore:
    return DynamoDBRateStore(world.dynamodb, "ledger")


def limiter(row: DynamoDBRateStore, clock: Clock) -> RateLimiter:
    return RateLimiter(row, FUNCTIONS, clock)


@dataclass
class Memory:
    """A store without DynamoDB, for tests with hundreds of sends."""

    state: State | None = None

    def read(self) -> State | None:
        return self.state

    def write(self, new: State, previous: State | None) -> bool:
        assert previous == self.state
        self.state = new
        return True


def known(row: RateStore) -> State:
    state = row.read()
    assert state
    return state


def send(sender: RateLimiter, clock: Clock) -> None:
    """A send in its slot that is accepted."""
    wait = sender.acquire(60)
    assert wait is not None
    clock.now += wait
    sender.on_send()
    clock.now += 0.1
    sender.on_accepted()


def refuse(
    sender: RateLimiter, clock: Clock, seconds: float = 0, *, too_fast: bool = True, ambiguous: bool = False
) -> None:
    """A send in its slot that is refused."""
    wait = sender.acquire(900)
    assert wait is not None
    clock.now += wait
    sender.on_send()
    sender.on_throttled(seconds, too_fast=too_fast, ambiguous=ambiguous)


def test_writes_nothing_before_the_first_refusal(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    for _ in range(3):
        assert sender.acquire(20) == 0
        assert sender.is_still_valid()
        send(sender, clock)

    assert row.read() is None


def test_after_a_refusal_all_functions_keep_an_interval(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    for sender in (one, other, one, other):
        send(sender, clock)
    refuse(one, clock, 1)
    slots = [other.acquire(20), one.acquire(20), other.acquire(20)]

    assert slots[0] == pytest.approx(1, abs=0.1)
    assert slots == sorted(slots)
    assert len(set(slots)) == 3


def test_refusals_of_concurrent_sends_count_once(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    assert one.acquire(20) == other.acquire(20) == 0
    one.on_throttled(1, too_fast=True)
    before = known(row)
    other.on_throttled(1, too_fast=True)

    assert known(row) == before


def test_a_slot_is_invalid_after_another_functions_refusal(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    refuse(one, clock)
    assert one.acquire(20) is not None
    assert one.is_still_valid()
    refuse(other, clock)

    assert not one.is_still_valid()


def test_a_slot_that_is_too_late_is_none(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    refuse(sender, clock, 30)

    assert sender.acquire(20) is None
    assert sender.acquire(40) is not None


def test_the_first_send_after_a_refusal_is_a_probe(row: DynamoDBRateStore, clock: Clock) -> None:
    senders = [limiter(row, clock) for _ in range(FUNCTIONS)]
    for sender in senders * 3:
        send(sender, clock)
    refuse(senders[0], clock, 1)
    slots = [sender.acquire(20) or 0 for sender in senders]
    intervals = [after - before for before, after in itertools.pairwise(slots)]

    assert intervals[0] == pytest.approx(1)
    assert max(intervals[1:]) < 0.5


def test_the_rate_recovers_gradually(clock: Clock) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    refuse(sender, clock)
    intervals = []
    for _ in range(500):
        intervals.append(known(row).current_interval(clock.now))
        send(sender, clock)

    assert intervals == sorted(intervals, reverse=True)
    assert intervals[-1] < 0.9 * intervals[0]


def test_each_429_slows_down_by_one_step(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    intervals = []
    for _ in range(10):
        refuse(sender, clock)
        intervals.append(known(row).interval)
        send(sender, clock)

    assert intervals == sorted(intervals)
    assert intervals[-1] > 2 * intervals[0]
    assert max(after / before for before, after in itertools.pairwise(intervals)) < 1.2


def test_some_refusals_do_not_slow_down_far_below_the_accepted_rate(clock: Clock) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    refuse(sender, clock)
    for _ in range(700):
        send(sender, clock)
    before = known(row).current_interval(clock.now)
    for _ in range(20):
        refuse(sender, clock)
        send(sender, clock)

    assert before < known(row).interval < 1.5 * before


def test_the_rate_adapts_to_a_vendor_that_has_become_slower(clock: Clock) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    for n in range(2000):
        (refuse if n % 300 == 0 else send)(sender, clock)
    before = known(row).interval
    for _ in range(2000):
        refuse(sender, clock)
        send(sender, clock)

    assert known(row).interval > 5 * before


def test_pauses_grow_during_an_outage_and_the_rate_stays(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    pauses = []
    for _ in range(10):
        refuse(sender, clock, too_fast=False)
        pauses.append(known(row).next_at - clock.now)
    interval = known(row).interval
    send(sender, clock)
    refuse(sender, clock, too_fast=False)

    assert pauses == pytest.approx([0, 2, 6, 14, 30, 60, 60, 60, 60, 60])
    assert known(row).interval == pytest.approx(interval, rel=0.5)
    assert known(row).next_at == clock.now


def test_pauses_after_ambiguous_answers_grow_to_15_minutes(row: DynamoDBRateStore, clock: Clock) -> None:
    """Also if free requests succeed in between."""
    sender = limiter(row, clock)
    pauses = []
    for _ in range(11):
        refuse(sender, clock, too_fast=False, ambiguous=True)
        pauses.append(known(row).next_at - clock.now)

    assert pauses == pytest.approx([0, 2, 6, 14, 30, 62, 126, 254, 510, 900, 900])


def test_an_outage_may_last_for_days(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    refuse(sender, clock, too_fast=False)
    before = known(row)
    row.write(msgspec.structs.replace(before, consecutive_refusals=3000), before)
    refuse(sender, clock, too_fast=False)

    assert known(row).next_at - clock.now == pytest.approx(60)


def test_a_task_accepted_before_an_outage_does_not_end_it(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    for sender in (one, other):
        send(sender, clock)
    for _ in range(4):
        refuse(one, clock, too_fast=False)
    refuse(other, clock, too_fast=False)

    assert known(row).next_at - clock.now == pytest.approx(30)


def test_the_limit_expires_when_nothing_was_refused_for_long(clock: Clock) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    for _ in range(50):
        refuse(sender, clock)
        send(sender, clock)
    assert known(row).current_interval(clock.now) <= 20
    clock.now += 3600

    assert sender.acquire(20) == sender.acquire(20) == 0
    refuse(sender, clock)
    assert known(row).interval < 1


def test_without_the_row_nothing_waits(clock: Clock, world: World) -> None:
    sender = limiter(DynamoDBRateStore(world.dynamodb, "no-such-table"), clock)
    refuse(sender, clock, 1)

    assert sender.acquire(20) == 0
    assert sender.is_still_valid()


def test_a_slot_that_cannot_be_reserved_is_used_anyway(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    refuse(sender, clock, 7)
    monkeypatch.setattr(row, "write", lambda *_: False)

    assert sender.acquire(20) == pytest.approx(7)


def test_functions_of_another_version_have_a_separate_row(
    world: World, row: DynamoDBRateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an update both run, and neither may fail because of the other's row."""
    refuse(limiter(row, clock), clock, 10)
    after = msgspec.defstruct("State", [("learned", float, 0.5)], bases=(State,), frozen=True)
    monkeypatch.setattr("lumendrop.rate_limiter.State", after)
    updated = limiter(DynamoDBRateStore(world.dynamodb, "ledger"), clock)

    assert updated.acquire(20) == 0
    refuse(updated, clock, 10)
    assert updated.acquire(20) == pytest.approx(10)


def test_concurrent_reservations_get_different_slots(
    row: DynamoDBRateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    refuse(one, clock, 1)
    slots: list[float | None] = []
    put: Any = row._client.put_item

    def reserved_by_the_other_first(**arguments: Any) -> Any:
        monkeypatch.undo()
        slots.append(other.acquire(20))
        return put(**arguments)

    monkeypatch.setattr(row._client, "put_item", reserved_by_the_other_first)
    slots.append(one.acquire(20))

    assert None not in slots
    assert len(set(slots)) == 2
