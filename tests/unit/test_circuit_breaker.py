"""The circuit breaker stays open as long as the vendor asks, or longer after each failed probe, up to a minute."""

from __future__ import annotations

import pytest

from lumendrop.circuit_breaker import CircuitBreaker
from tests.unit.conftest import Clock


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def seconds_open(breaker: CircuitBreaker, clock: Clock) -> int:
    """The seconds that it stays open from now on, rounded up."""
    begun = clock.now
    while breaker.open_reason():
        clock.now += 1
    return int(clock.now - begun)


def test_it_starts_closed(breaker: CircuitBreaker) -> None:
    assert breaker.open_reason() is None


def test_it_has_the_reason(breaker: CircuitBreaker) -> None:
    breaker.open("insufficient_quota", "The balance is too low.")

    assert breaker.open_reason() == ("insufficient_quota", "The balance is too low.")


@pytest.mark.parametrize(("seconds", "waited"), [(30, 30), (900, 900), (0, 1)])
def test_it_stays_open_as_long_as_the_vendor_asks(
    breaker: CircuitBreaker, clock: Clock, seconds: float, waited: int
) -> None:
    breaker.open("rate_limit_error", "slow down", seconds)

    assert seconds_open(breaker, clock) == waited


def test_it_stays_open_longer_after_each_failed_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    for most in (2, 4, 8, 16, 32, 60, 60):
        breaker.open("unreachable", "no connection")
        assert most // 2 <= seconds_open(breaker, clock) <= most


def test_success_closes_and_resets_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(6):
        breaker.open("unreachable", "no connection")
    breaker.close()
    assert breaker.open_reason() is None
    breaker.open("unreachable", "no connection")

    assert seconds_open(breaker, clock) <= 2
