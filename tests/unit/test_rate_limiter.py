"""The pace that the warm functions share: as fast as the vendor takes it, and none while nothing is refused."""

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
    """A row without DynamoDB, for what takes thousands of sends."""

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
    """A send that was taken, in its turn."""
    wait = sender.acquire(60)
    assert wait is not None
    clock.now += wait
    sender.on_send()
    clock.now += 0.1
    sender.on_accepted()


def refuse(sender: RateLimiter, clock: Clock, seconds: float = 0, *, too_fast: bool = True) -> None:
    """A send that was refused, in its turn."""
    wait = sender.acquire(60)
    assert wait is not None
    clock.now += wait
    sender.on_send()
    sender.on_throttled(seconds, too_fast=too_fast)


def test_writes_nothing_as_long_as_nothing_was_refused(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    for _ in range(3):
        assert sender.acquire(20) == 0
        assert sender.is_still_valid()
        send(sender, clock)

    assert row.read() is None


def test_after_a_refusal_everybody_keeps_a_gap(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    for sender in (one, other, one, other):
        send(sender, clock)
    refuse(one, clock, 1)
    turns = [other.acquire(20), one.acquire(20), other.acquire(20)]

    assert turns[0] == pytest.approx(1, abs=0.1)
    assert turns == sorted(turns)
    assert len(set(turns)) == 3


def test_refusals_of_what_was_under_way_count_once(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    assert one.acquire(20) == other.acquire(20) == 0
    one.on_throttled(1, too_fast=True)
    before = known(row)
    other.on_throttled(1, too_fast=True)

    assert known(row) == before


def test_a_turn_no_longer_holds_when_somebody_was_refused_meanwhile(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    refuse(one, clock)
    assert one.acquire(20) is not None
    assert one.is_still_valid()
    refuse(other, clock)

    assert not one.is_still_valid()


def test_a_turn_too_far_off_is_none(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    refuse(sender, clock, 30)

    assert sender.acquire(20) is None
    assert sender.acquire(40) is not None


def test_the_first_send_after_a_refusal_goes_alone(row: DynamoDBRateStore, clock: Clock) -> None:
    senders = [limiter(row, clock) for _ in range(FUNCTIONS)]
    for sender in senders * 3:
        send(sender, clock)
    refuse(senders[0], clock, 1)
    turns = [sender.acquire(20) or 0 for sender in senders]
    intervals = [after - before for before, after in itertools.pairwise(turns)]

    assert intervals[0] == pytest.approx(1)
    assert max(intervals[1:]) < 0.5


def test_the_pace_comes_back_by_and_by(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    refuse(sender, clock)
    intervals = []
    for _ in range(500):
        intervals.append(known(row).current_interval(clock.now))
        send(sender, clock)

    assert intervals == sorted(intervals, reverse=True)
    assert intervals[-1] < 0.9 * intervals[0]


def test_refusals_for_being_too_fast_slow_down_step_by_step(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    intervals = []
    for _ in range(10):
        refuse(sender, clock)
        intervals.append(known(row).interval)
        send(sender, clock)

    assert intervals == sorted(intervals)
    assert intervals[-1] > 2 * intervals[0]
    assert max(after / before for before, after in itertools.pairwise(intervals)) < 1.2


def test_some_refusals_do_not_slow_down_far_below_what_was_taken(clock: Clock) -> None:
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


def test_a_vendor_that_has_become_slow_is_asked_more_seldom_in_the_end(clock: Clock) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    for n in range(2000):
        (refuse if n % 300 == 0 else send)(sender, clock)
    before = known(row).interval
    for _ in range(1500):
        refuse(sender, clock)
        send(sender, clock)

    assert known(row).interval > 5 * before


def test_an_outage_makes_all_pause_longer_each_time_and_slows_nobody_down(row: DynamoDBRateStore, clock: Clock) -> None:
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


def test_an_outage_may_last_for_days(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    refuse(sender, clock, too_fast=False)
    before = known(row)
    row.write(msgspec.structs.replace(before, consecutive_refusals=3000), before)
    refuse(sender, clock, too_fast=False)

    assert known(row).next_at - clock.now == pytest.approx(60)


def test_what_was_taken_before_an_outage_is_no_end_of_it(row: DynamoDBRateStore, clock: Clock) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    for sender in (one, other):
        send(sender, clock)
    for _ in range(4):
        refuse(one, clock, too_fast=False)
    refuse(other, clock, too_fast=False)

    assert known(row).next_at - clock.now == pytest.approx(30)


def test_a_pace_is_forgotten_when_nothing_is_refused_for_long(row: DynamoDBRateStore, clock: Clock) -> None:
    sender = limiter(row, clock)
    for _ in range(50):
        refuse(sender, clock)
        send(sender, clock)
    assert known(row).current_interval(clock.now) <= 20
    clock.now += 3600

    assert sender.acquire(20) == sender.acquire(20) == 0
    refuse(sender, clock)
    assert known(row).interval < 1


def test_where_the_row_cannot_be_had_nothing_waits(clock: Clock, world: World) -> None:
    sender = limiter(DynamoDBRateStore(world.dynamodb, "no-such-table"), clock)
    refuse(sender, clock, 1)

    assert sender.acquire(20) == 0
    assert sender.is_still_valid()


def test_a_turn_that_cannot_be_booked_is_kept_all_the_same(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Memory()
    sender = RateLimiter(row, FUNCTIONS, clock)
    refuse(sender, clock, 7)
    monkeypatch.setattr(row, "write", lambda *_: False)

    assert sender.acquire(20) == pytest.approx(7)


def test_functions_of_another_version_keep_a_row_of_their_own(
    world: World, row: DynamoDBRateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an update both are at work, and neither may crash of what the other wrote."""
    refuse(limiter(row, clock), clock, 10)
    after = msgspec.defstruct("State", [("learned", float, 0.5)], bases=(State,), frozen=True)
    monkeypatch.setattr("lumendrop.rate_limiter.State", after)
    updated = limiter(DynamoDBRateStore(world.dynamodb, "ledger"), clock)

    assert updated.acquire(20) == 0
    refuse(updated, clock, 10)
    assert updated.acquire(20) == pytest.approx(10)


def test_two_who_book_at_once_get_different_turns(
    row: DynamoDBRateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = limiter(row, clock), limiter(row, clock)
    refuse(one, clock, 1)
    turns: list[float | None] = []
    put: Any = row._client.put_item

    def beaten(**arguments: Any) -> Any:
        monkeypatch.undo()
        turns.append(other.acquire(20))
        return put(**arguments)

    monkeypatch.setattr(row._client, "put_item", beaten)
    turns.append(one.acquire(20))

    assert None not in turns
    assert len(set(turns)) == 2
