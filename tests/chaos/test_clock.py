"""The clock that skips waiting times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from tests.chaos.clock import Clock, FairSemaphore, NothingScheduled

HOUR = 3600


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock() as opened:
        yield opened


class Waiter:
    """Waits for `seconds` by the clock; then `over` is set."""

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


def test_it_follows_real_time_until_a_skip(clock: Clock) -> None:
    before = time.time()
    assert before <= clock.now() <= time.time()
    assert clock.advance(HOUR)
    assert before + HOUR <= clock.now() <= time.time() + HOUR


def test_a_skip_ends_at_the_first_wait(clock: Clock) -> None:
    first, second = Waiter(clock, HOUR), Waiter(clock, 2 * HOUR)
    assert clock.skip() == pytest.approx(HOUR, abs=5)
    assert first.over.wait(5)
    assert not second.over.is_set()


def test_work_is_active_again_after_a_wait(clock: Clock) -> None:
    Waiter(clock)
    assert clock.skip() > 0
    assert clock.busy
    assert clock.skip() == 0


def test_it_skips_nothing_while_work_is_active(clock: Clock) -> None:
    waiter = Waiter(clock)
    with clock.working():
        assert clock.skip() == 0
        assert not clock.advance(HOUR)
    assert not waiter.over.is_set()
    assert clock.skip() > 0


def test_a_skip_ends_at_the_given_time(clock: Clock) -> None:
    waiter = Waiter(clock)
    assert clock.skip(clock.now() + 60) == pytest.approx(60, abs=5)
    assert not waiter.over.is_set()


def test_a_wait_ends_when_it_is_no_longer_needed(clock: Clock) -> None:
    with clock.working():
        clock.wait(HOUR, lambda: False)
    assert clock.skipped == 0
    assert not clock.busy


def test_a_skip_ends_at_a_timer(clock: Clock) -> None:
    skips = []
    clock.add_timer(lambda: clock.now() + 90, lambda: skips.append(True))
    assert clock.skip() == pytest.approx(90, abs=5)
    assert skips


def test_a_skip_with_nothing_scheduled_is_an_error(clock: Clock) -> None:
    clock.add_timer(lambda: None, lambda: None)
    with pytest.raises(NothingScheduled):
        clock.skip()


def test_waiting_for_a_semaphore_interrupts_work(clock: Clock) -> None:
    semaphore, acquired, done = FairSemaphore(1, clock), Event(), Event()
    with clock.working():
        semaphore.acquire()

        def acquire() -> None:
            with clock.working(), semaphore:
                acquired.set()
                done.wait(60)

        second = Thread(target=acquire, daemon=True)
        second.start()
        while not semaphore._waiting:
            time.sleep(0.001)
    while clock.busy:
        time.sleep(0.001)
    assert not acquired.is_set()
    semaphore.release()
    assert clock.busy
    done.set()
    second.join(60)
    assert acquired.is_set()
    assert not clock.busy
