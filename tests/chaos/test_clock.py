"""The clock that skips what nobody needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from tests.chaos.clock import Clock, NothingAhead, Turns

HOUR = 3600


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock() as opened:
        yield opened


class Waiter:
    """Works, and waits for an hour by the clock; `over` when the hour is."""

    def __init__(self, clock: Clock, seconds: float = HOUR) -> None:
        self.over = Event()
        self._clock = clock
        clock.start_work()
        self._thread = Thread(target=self._run, args=(seconds,), daemon=True)
        self._thread.start()
        while clock.busy:
            time.sleep(0.001)

    def _run(self, seconds: float) -> None:
        self._clock.wait(seconds)
        self.over.set()


def test_it_shows_the_time_until_something_is_skipped(clock: Clock) -> None:
    before = time.time()
    assert before <= clock.now() <= time.time()
    assert clock.move(HOUR)
    assert before + HOUR <= clock.now() <= time.time() + HOUR


def test_it_goes_on_to_the_first_of_those_who_wait(clock: Clock) -> None:
    first, second = Waiter(clock, HOUR), Waiter(clock, 2 * HOUR)
    assert clock.skip() == pytest.approx(HOUR, abs=5)
    assert first.over.wait(5)
    assert not second.over.is_set()


def test_whoever_is_woken_is_at_work_at_once(clock: Clock) -> None:
    Waiter(clock)
    assert clock.skip() > 0
    assert clock.busy
    assert clock.skip() == 0


def test_it_skips_nothing_while_something_is_under_way(clock: Clock) -> None:
    waiter = Waiter(clock)
    with clock.working():
        assert clock.skip() == 0
        assert not clock.move(HOUR)
    assert not waiter.over.is_set()
    assert clock.skip() > 0


def test_it_skips_no_further_than_it_is_told(clock: Clock) -> None:
    waiter = Waiter(clock)
    assert clock.skip(clock.now() + 60) == pytest.approx(60, abs=5)
    assert not waiter.over.is_set()


def test_a_wait_ends_when_it_is_wanted_no_more(clock: Clock) -> None:
    with clock.working():
        clock.wait(HOUR, lambda: False)
    assert clock.skipped == 0
    assert not clock.busy


def test_others_may_wait_by_it(clock: Clock) -> None:
    rung = []
    clock.follow(lambda: clock.now() + 90, lambda: rung.append(True))
    assert clock.skip() == pytest.approx(90, abs=5)
    assert rung


def test_it_says_when_nobody_waits_for_anything(clock: Clock) -> None:
    clock.follow(lambda: None, lambda: None)
    with pytest.raises(NothingAhead):
        clock.skip()


def test_waiting_for_a_turn_is_rest_and_having_got_it_is_work(clock: Clock) -> None:
    turns, got, over = Turns(1, clock), Event(), Event()
    with clock.working():
        turns.acquire()

        def take_turn() -> None:
            with clock.working(), turns:
                got.set()
                over.wait(60)

        second = Thread(target=take_turn, daemon=True)
        second.start()
        while not turns._waiting:
            time.sleep(0.001)
    while clock.busy:
        time.sleep(0.001)
    assert not got.is_set()
    turns.release()
    assert clock.busy
    over.set()
    second.join(60)
    assert got.is_set()
    assert not clock.busy
