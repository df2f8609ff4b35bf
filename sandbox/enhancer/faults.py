"""Fault plans: which fault occurs on which route, and when. A seed makes a plan reproducible.

`PUT /_sandbox/faults` sets a plan. Its keys `submit`, `task`, `status`, and `result` have faults of single calls. Its
key `outages` has periods in which every call of some routes fails: here, of every route for 40 s from now, and of
submits for ten minutes that begin in an hour.

    {"outages": [
        {"seconds": 40, "fault": {"kind": "http", "status": 503, "body": "html"}},
        {"starts_in": 3600, "seconds": 600, "routes": ["submit"], "fault": {"kind": "hang", "seconds": 30}}
    ]}

A client can't reach the enhancer at all when its name does not resolve or its certificate has expired. Such faults are
not simulated here, but on the side of the client.
"""

import time
from collections.abc import Callable
from random import Random
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.enhancer.wire import MAX_HANG_SECONDS

ErrorCode = Literal[
    "unsupported_advanced_options",
    "model_not_found",
    "no_compatible_channel",
    "invalid_file_type",
    "invalid_image_url",
]
FailureCode = Literal[
    "content_policy_violation",
    "invalid_parameters",
    "image_processing_error",
    "image_dimension_mismatch",
    "service_error",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "service_unavailable",
    "generation_failed_no_content",
    "request_cancelled",
    "resource_not_found",
    "unknown_error",
]
Seconds = Annotated[float, Field(ge=0, le=MAX_HANG_SECONDS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpFault(_Strict):
    """An HTTP error with the contract's error object, without a body, or with a proxy's HTML page.

    502 to 504 are a gateway's; 520 to 526 are those of Cloudflare in front of a server that is in trouble.
    """

    kind: Literal["http"] = "http"
    status: Literal[400, 401, 402, 404, 422, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526]
    code: ErrorCode | None = None
    retry_after: Annotated[int, Field(ge=0)] | None = None
    body: Literal["error", "none", "html"] = "error"


class HangFault(_Strict):
    """No response for `seconds`, then a reset."""

    kind: Literal["hang"] = "hang"
    seconds: Seconds = MAX_HANG_SECONDS


class ResetFault(_Strict):
    """A TCP reset instead of a response."""

    kind: Literal["reset"] = "reset"


class SlowHeadersFault(_Strict):
    """A status line, then a header each half second for `seconds`, then a reset."""

    kind: Literal["slow_headers"] = "slow_headers"
    seconds: Seconds = MAX_HANG_SECONDS


class SubmitHttpFault(HttpFault):
    """`created`: a task is created and charged. `quotes`: the message repeats the URL and the key."""

    created: bool = False
    quotes: bool = False


class SubmitHangFault(HangFault):
    """`created`: a task is created and charged."""

    created: bool = False


class SubmitResetFault(ResetFault):
    """`created`: a task is created and charged."""

    created: bool = False


class SubmitSlowHeadersFault(SlowHeadersFault):
    """`created`: a task is created and charged."""

    created: bool = False


class TaskFault(_Strict):
    """The course of one task, chosen when it is created.

    `end`: the final status; `never` stays in progress. `code`: the code of a failure. `seconds`: the minimum duration.
    `at_submit`: the task ends before the response to the submit. `race_polls`: this number of polls return
    `completed` with `results: null`, at `race_progress`. `shape`: `objects`, `output`, or `strings`, the three forms of
    the contract. `quotes`: the message of a failure repeats the photo's URL.
    """

    end: Literal["completed", "failed", "cancelled", "never"] = "completed"
    code: FailureCode | Annotated[str, Field(min_length=1, max_length=100)] = "service_error"
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    at_submit: bool = False
    race_polls: Annotated[int, Field(ge=0)] = 0
    race_progress: Annotated[int, Field(ge=0, le=100)] = 100
    shape: Literal["objects", "output", "strings"] = "objects"
    quotes: bool = False

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.at_submit and self.end == "never":
            raise ValueError("at_submit requires an end other than never")
        return self


class BrokenResult(_Strict):
    """A faulty response to a download.

    `truncated`: half of the body with the full Content-Length. `wrong_length`: a Content-Length that is 1,000 bytes
    too small. `gzip`: a Content-Encoding that was not requested. `endless`: chunks up to 5 GB.
    """

    kind: Literal["missing", "expired", "error", "truncated", "wrong_length", "gzip", "html", "endless"]


class RedirectFault(_Strict):
    """A 302 to the URL in `to`."""

    kind: Literal["redirect"]
    to: str


class DripFault(_Strict):
    """The correct body at `bytes_per_second`, with a reset after two minutes."""

    kind: Literal["drip"]
    bytes_per_second: Annotated[int, Field(ge=1)] = 10


SubmitFaults = SubmitHttpFault | SubmitHangFault | SubmitResetFault | SubmitSlowHeadersFault
StatusFaults = HttpFault | HangFault | ResetFault | SlowHeadersFault
ResultFaults = BrokenResult | RedirectFault | DripFault | HangFault | ResetFault | SlowHeadersFault
SubmitFault = Annotated[SubmitFaults, Field(discriminator="kind")]
StatusFault = Annotated[StatusFaults, Field(discriminator="kind")]
ResultFault = Annotated[ResultFaults, Field(discriminator="kind")]
Route = Literal["submit", "status", "result", "models", "credits"]
ROUTES: tuple[Route, ...] = ("submit", "status", "result", "models", "credits")
F = TypeVar("F")


class Rate(_Strict, Generic[F]):
    """A fault and its probability, 0 to 1."""

    rate: float = Field(ge=0, le=1)
    fault: F


class Course(_Strict, Generic[F]):
    """The faults of one route: `sequence` has one entry for each call (null: no fault), then `rates` apply."""

    sequence: list[F | None] = []
    rates: list[Rate[F]] = []

    @model_validator(mode="after")
    def _rates_are_valid(self) -> Self:
        if sum(rate.rate for rate in self.rates) > 1 + 1e-9:
            raise ValueError("the sum of the rates of one route must not exceed 1")
        return self


class Outage(_Strict):
    """The same fault for every call of some routes, from `starts_in` seconds after the plan is set, for `seconds`.

    Without `seconds`, the outage lasts until the next plan. `created` has an effect only on submits.
    """

    fault: SubmitFault
    starts_in: Annotated[float, Field(ge=0)] = 0
    seconds: Annotated[float, Field(gt=0)] | None = None
    routes: list[Route] = list(ROUTES)

    def includes(self, route: str, passed: float) -> bool:
        """Whether a call of `route` is in this outage, `passed` seconds after the plan was set."""
        ends = float("inf") if self.seconds is None else self.starts_in + self.seconds
        return route in self.routes and self.starts_in <= passed < ends


class FaultPlan(_Strict):
    """A plan for all routes; `{}` has no faults. Faults apply only to calls that would succeed.

    `submit`, `status`, and `result` draw once for each call, `task` once for each task. During an outage, nothing is
    drawn; the first outage that includes a call counts.
    """

    seed: int = 0
    outages: list[Outage] = []
    submit: Course[SubmitFault] = Course()
    task: Course[TaskFault] = Course()
    status: Course[StatusFault] = Course()
    result: Course[ResultFault] = Course()


class Faults:
    """Draws the faults of a plan. Each route has its own random stream, so that routes are independent."""

    def __init__(self, plan: FaultPlan, now: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.calls = dict.fromkeys(("submit", "task", "status", "result", "models", "credits"), 0)
        self.hits = dict(self.calls)
        self._now = now
        self._set_at = now()
        # Not for secrets. The same seed must give the same faults.
        self._chance = {route: Random(f"{plan.seed} {route}") for route in self.calls}  # noqa: S311

    def submit(self) -> SubmitFaults | None:
        """The fault of the next submit."""
        return self.outage("submit") or self._draw("submit", self.plan.submit)

    def outage(self, route: Route) -> SubmitFaults | None:
        """The fault of a call of `route` that is in an outage, or None."""
        passed = self._now() - self._set_at
        fault = next((outage.fault for outage in self.plan.outages if outage.includes(route, passed)), None)
        if fault or route in ("models", "credits"):
            self.calls[route] += 1
            self.hits[route] += fault is not None
        return fault

    def task(self) -> TaskFault:
        """The course of the next task."""
        return self._draw("task", self.plan.task) or TaskFault()

    def status(self) -> StatusFaults | None:
        """The fault of the next poll."""
        return self.outage("status") or self._draw("status", self.plan.status)

    def result(self) -> ResultFaults | SubmitHttpFault | None:
        """The fault of the next download."""
        return self.outage("result") or self._draw("result", self.plan.result)

    def _draw(self, route: str, course: Course[F]) -> F | None:
        call = self.calls[route]
        self.calls[route] += 1
        planned = call < len(course.sequence)
        fault = course.sequence[call] if planned else _at_random(self._chance[route].random(), course.rates)
        self.hits[route] += fault is not None
        return fault


def _at_random(point: float, rates: list[Rate[F]]) -> F | None:
    for rate in rates:
        if point < rate.rate:
            return rate.fault
        point -= rate.rate
    return None
