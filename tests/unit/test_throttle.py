"""In an outage, a request that costs nothing precedes each photo."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.enhancer import Unavailable
from lumendrop.rate_limiter import RateLimiter
from lumendrop.throttle import Throttle


class Limiter:
    """A rate limiter with a free slot."""

    def __init__(self, *, must_probe: bool) -> None:
        self.must_probe = must_probe

    def wait(self, _: float) -> bool:
        return True


def throttle(*, must_probe: bool, probe: Any) -> Throttle:
    return Throttle(CircuitBreaker(), cast(RateLimiter, Limiter(must_probe=must_probe)), probe)


@pytest.mark.parametrize("must_probe", [False, True])
def test_only_in_an_outage_a_free_request_precedes_a_photo(must_probe: bool) -> None:
    probes: list[bool] = []
    throttle(must_probe=must_probe, probe=lambda: probes.append(True)).wait(60)
    assert len(probes) == must_probe


def test_no_photo_is_sent_while_the_free_request_fails() -> None:
    def fail() -> None:
        raise Unavailable("unreachable", "the enhancer does not answer")

    with pytest.raises(Unavailable):
        throttle(must_probe=True, probe=fail).wait(60)
