"""The pace that the warm functions share: as fast as the vendor takes it, and none while nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lumendrop.pace import LedgerRow, Pace, State
from tests.unit.conftest import Clock
from tests.unit.world import World

FUNCTIONS = 5


@pytest.fixture
def row(world: World) -> LedgerRow:
    return LedgerRow(world.dynamodb, "ledger")


def pace(row: LedgerRow, clock: Clock) -> Pace:
    return Pace(row, FUNCTIONS, clock)


def known(row: LedgerRow) -> State:
    state = row.read()
    assert state
    return state


def send(sender: Pace, clock: Clock, seconds: float = 0.5) -> None:
    """A send that was taken, the next due whenever."""
    sender.turn(60)
    sender.sent()
    clock.now += seconds
    sender.taken()


def test_costs_nothing_as_long_as_nothing_was_refused(world: World, row: LedgerRow, clock: Clock) -> None:
    sender = pace(row, clock)
    for _ in range(3):
        assert sender.turn(20) == 0
        assert sender.holds()
        send(sender, clock)

    assert world.calls == []


def test_after_a_refusal_everybody_who_knows_of_it_keeps_a_gap(row: LedgerRow, clock: Clock) -> None:
    one, other = pace(row, clock), pace(row, clock)
    for sender in (one, other, one, other):
        send(sender, clock)
    one.refused(1)
    other.refused(1)

    assert known(row).refusals == 1
    first, second = one.turn(20), other.turn(20)
    assert first == pytest.approx(1, abs=0.1)
    assert second is not None
    assert second > first


def test_a_turn_no_longer_holds_when_somebody_was_refused_meanwhile(row: LedgerRow, clock: Clock) -> None:
    one, other = pace(row, clock), pace(row, clock)
    one.refused(1)
    other.refused(1)
    assert one.turn(20) is not None
    assert one.holds()
    clock.now += 10
    other.refused(1)

    assert not one.holds()


def test_a_turn_too_far_off_is_none(row: LedgerRow, clock: Clock) -> None:
    sender = pace(row, clock)
    sender.refused(30)

    assert sender.turn(20) is None
    assert sender.turn(40) is not None


def test_tasks_that_are_taken_bring_the_pace_back_and_beyond(row: LedgerRow, clock: Clock) -> None:
    sender = pace(row, clock)
    sender.refused(1)
    gaps = []
    for _ in range(700):
        gaps.append(known(row).present_gap(clock.now))
        send(sender, clock, seconds=0.1)

    assert gaps[0] == pytest.approx(2 * known(row).gap, rel=0.1)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < known(row).gap / 2


def test_a_slow_pace_is_forgotten_with_time(row: LedgerRow, clock: Clock) -> None:
    sender = pace(row, clock)
    for _ in range(50):
        clock.now += 60
        sender.refused(1)
    assert known(row).present_gap(clock.now) <= 20
    clock.now += 3600

    assert known(row).present_gap(clock.now) < 1


def test_after_a_quiet_time_the_next_turn_is_now(row: LedgerRow, clock: Clock) -> None:
    sender = pace(row, clock)
    sender.refused(1)
    clock.now += 1000

    assert sender.turn(20) == 0


def test_an_old_word_is_not_taken_for_the_present_one(row: LedgerRow, clock: Clock) -> None:
    pace(row, clock).refused(1)
    clock.now += 3600
    cold = pace(row, clock)
    cold.refused(1)

    assert known(row).since == pytest.approx(clock.now + 1)


def test_where_the_row_cannot_be_had_nothing_waits(clock: Clock, world: World) -> None:
    sender = pace(LedgerRow(world.dynamodb, "no-such-table"), clock)
    sender.refused(1)

    assert sender.turn(20) == 0
    assert sender.holds()


def test_two_who_book_at_once_get_different_turns(
    row: LedgerRow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pace(row, clock), pace(row, clock)
    one.refused(1)
    other.refused(1)
    turns: list[float | None] = []
    put: Any = row._client.put_item

    def beaten(**arguments: Any) -> Any:
        monkeypatch.undo()
        turns.append(other.turn(20))
        return put(**arguments)

    monkeypatch.setattr(row._client, "put_item", beaten)
    turns.append(one.turn(20))

    assert None not in turns
    assert len(set(turns)) == 2
