"""Fault plans: what fails at the enhancer, and what fails around the functions."""

from __future__ import annotations

from typing import Any

from tests.chaos.faults import KILLS, SERVICES, Plan
from tests.chaos.uploads import CRASH_PREFIX

Json = dict[str, Any]

LATE_SECONDS = 120
DUPLICATES = 0.3
KILL_RATE = 0.02
THROTTLE_RATE = 0.04
LOST_RESPONSE_RATE = 0.01
SLOW_RATE = 0.05
# Redirect targets that the download must refuse: instance metadata and private networks.
_INTERNAL_URLS = (
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/result.jpg",
    "http://[fd00::1]/result.jpg",
)


def random_faults(seed: int) -> Plan:
    """Duplicate and reordered events, killed processes, services that throttle or lose responses."""
    return Plan(
        seed=seed,
        duplicates=DUPLICATES,
        late_seconds=LATE_SECONDS,
        kills=dict.fromkeys(KILLS, KILL_RATE),
        throttles=dict.fromkeys(SERVICES, THROTTLE_RATE),
        lost_responses=dict.fromkeys(SERVICES, LOST_RESPONSE_RATE),
        slow={"s3": SLOW_RATE, "dynamodb": SLOW_RATE},
        crash_prefix=CRASH_PREFIX,
    )


def enhancer_faults(seed: int) -> Json:
    """A fault plan for the enhancer that affects a quarter of all calls."""
    return {
        "seed": seed,
        "submit": {"rates": [_rate(share, fault) for share, fault in _SUBMIT]},
        "task": {"rates": [_rate(share, fault) for share, fault in _TASK]},
        "status": {"rates": [_rate(share, fault) for share, fault in _STATUS]},
        "result": {"rates": [_rate(share, fault) for share, fault in _RESULT]},
    }


def failing_tasks(seed: int) -> Json:
    """A fault plan for the enhancer in which most tasks fail with a retryable code."""
    return {"seed": seed, "task": {"rates": [_rate(0.6, {"end": "failed", "code": "service_unavailable"})]}}


def ambiguous_submits(seed: int) -> Json:
    """A fault plan for the enhancer in which half of the submits are ambiguous."""
    faults = [_http(500), _http(500, created=True), _RESET, _RESET | {"created": True}]
    return {"seed": seed, "submit": {"rates": [_rate(0.125, fault) for fault in faults]}}


def _rate(share: float, fault: Json) -> Json:
    return {"rate": share, "fault": fault}


def _http(status: int, **more: Any) -> Json:
    return {"kind": "http", "status": status, **more}


_HANG: Json = {"kind": "hang", "seconds": 0.5}
_RESET: Json = {"kind": "reset"}

_SUBMIT: list[tuple[float, Json]] = [
    (0.010, _http(400, quotes=True)),
    (0.010, _http(422, code="invalid_image_url", quotes=True)),
    (0.010, _http(422, code="unsupported_advanced_options")),
    (0.010, _http(422, code="model_not_found")),
    (0.020, _http(422, code="no_compatible_channel", retry_after=30)),
    (0.010, _http(401)),
    (0.010, _http(401, body="none")),
    (0.015, _http(402, quotes=True)),
    (0.015, _http(429, retry_after=2)),
    (0.010, _http(429, body="html")),
    (0.010, _http(500)),
    (0.010, _http(500, created=True, quotes=True)),
    (0.005, _http(500, body="none", created=True)),
    (0.020, _http(503, retry_after=5)),
    (0.010, _http(503, body="html")),
    (0.010, _http(503, body="none", created=True)),
    (0.015, _HANG),
    (0.015, _HANG | {"created": True}),
    (0.015, _RESET),
    (0.020, _RESET | {"created": True}),
]

_TASK: list[tuple[float, Json]] = [
    (0.030, {"end": "failed", "code": "service_error"}),
    (0.030, {"end": "failed", "code": "generation_timeout", "quotes": True}),
    (0.020, {"end": "failed", "code": "resource_exhausted", "at_submit": True}),
    (0.020, {"end": "failed", "code": "content_policy_violation", "quotes": True}),
    (0.010, {"end": "failed", "code": "something new"}),
    (0.010, {"end": "cancelled"}),
    (0.010, {"end": "never"}),
    (0.040, {"race_polls": 2, "race_progress": 50}),
    (0.010, {"at_submit": True}),
    (0.010, {"seconds": 1.0}),
    (0.030, {"shape": "output"}),
    (0.030, {"shape": "strings"}),
]

_STATUS: list[tuple[float, Json]] = [
    (0.010, _http(401)),
    (0.010, _http(402, body="none")),
    (0.040, _http(404)),
    (0.040, _http(429, retry_after=3)),
    (0.010, _http(429)),
    (0.050, _http(500)),
    (0.010, _http(500, body="html")),
    (0.030, _http(503, body="none")),
    (0.010, _HANG),
    (0.040, _RESET),
]

_RESULT: list[tuple[float, Json]] = [
    (0.020, {"kind": "missing"}),
    (0.030, {"kind": "expired"}),
    (0.020, {"kind": "error"}),
    (0.015, {"kind": "truncated"}),
    (0.030, {"kind": "wrong_length"}),
    (0.020, {"kind": "gzip"}),
    (0.010, {"kind": "html"}),
    (0.003, {"kind": "endless"}),
    (0.050, {"kind": "drip", "bytes_per_second": 300_000}),
    (0.010, _HANG),
    (0.030, _RESET),
    *((0.004, {"kind": "redirect", "to": to}) for to in _INTERNAL_URLS),
]
