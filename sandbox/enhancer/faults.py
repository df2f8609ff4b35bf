"""Fault plans: what shall go wrong, on which route, when. Seeded, so that a plan always plays out the same."""

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
    """An HTTP error: with the contract's error object, with no body, or with a proxy's HTML page."""

    kind: Literal["http"] = "http"
    status: Literal[400, 401, 402, 404, 422, 429, 500, 503]
    code: ErrorCode | None = None
    retry_after: Annotated[int, Field(ge=0)] | None = None
    body: Literal["error", "none", "html"] = "error"


class HangFault(_Strict):
    """Silence for so many seconds, then a reset."""

    kind: Literal["hang"] = "hang"
    seconds: Seconds = MAX_HANG_SECONDS


class ResetFault(_Strict):
    """A TCP reset instead of an answer."""

    kind: Literal["reset"] = "reset"


class SubmitHttpFault(HttpFault):
    """`created`: the task exists, and is charged, nevertheless. `quotes`: the message repeats the URL and the key."""

    created: bool = False
    quotes: bool = False


class SubmitHangFault(HangFault):
    """`created`: the task exists, and is charged, nevertheless."""

    created: bool = False


class SubmitResetFault(ResetFault):
    """`created`: the task exists, and is charged, nevertheless."""

    created: bool = False


class TaskFault(_Strict):
    """How one task goes, decided when it is created.

    `end`: how it ends; `never` stays in progress. `code`: the failure's. `seconds`: how long it takes at least.
    `at_submit`: it has ended before the submit is answered. `race_polls`: so many polls see `completed` with
    `results: null`, at `race_progress`. `shape`: `objects`, `output` or `strings`, the contract's 1, 2 and 3.
    `quotes`: the failure's message repeats the photo's URL.
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
            raise ValueError("at_submit needs an end: a task that never ends would never be answered")
        return self


class BrokenResult(_Strict):
    """A result link that disappoints.

    `truncated`: half the body under the full Content-Length. `wrong_length`: a Content-Length 1,000 bytes short.
    `gzip`: Content-Encoding although nobody asked. `endless`: chunks up to 5 GB.
    """

    kind: Literal["missing", "expired", "error", "truncated", "wrong_length", "gzip", "html", "endless"]


class RedirectFault(_Strict):
    """A 302 to the URL given."""

    kind: Literal["redirect"]
    to: str


class DripFault(_Strict):
    """The right body, so many bytes a second, reset after two minutes."""

    kind: Literal["drip"]
    bytes_per_second: Annotated[int, Field(ge=1)] = 10


SubmitFault = Annotated[SubmitHttpFault | SubmitHangFault | SubmitResetFault, Field(discriminator="kind")]
StatusFault = Annotated[HttpFault | HangFault | ResetFault, Field(discriminator="kind")]
ResultFault = Annotated[BrokenResult | RedirectFault | DripFault | HangFault | ResetFault, Field(discriminator="kind")]
F = TypeVar("F")


class Rate(_Strict, Generic[F]):
    """A fault and how often it comes, 0 to 1."""

    rate: float = Field(ge=0, le=1)
    fault: F


class Course(_Strict, Generic[F]):
    """What comes on one route: first `sequence`, one entry a call (null: no fault), then `rates` by chance."""

    sequence: list[F | None] = []
    rates: list[Rate[F]] = []

    @model_validator(mode="after")
    def _at_most_always(self) -> Self:
        if sum(rate.rate for rate in self.rates) > 1 + 1e-9:
            raise ValueError("the rates of one route may not add up to more than 1")
        return self


class FaultPlan(_Strict):
    """A whole plan; `{}` is fair weather. Faults hit only calls that would have succeeded.

    `submit`, `status`, `result`: one draw a call. `task`: one draw a task created.
    """

    seed: int = 0
    submit: Course[SubmitFault] = Course()
    task: Course[TaskFault] = Course()
    status: Course[StatusFault] = Course()
    result: Course[ResultFault] = Course()


class Faults:
    """A plan being played: one random stream a route, so that routes do not disturb each other."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.calls = {"submit": 0, "task": 0, "status": 0, "result": 0}
        self.hits = dict(self.calls)
        # Not for secrets: the same seed must give the same faults.
        self._chance = {route: Random(f"{plan.seed} {route}") for route in self.calls}  # noqa: S311

    def submit(self) -> SubmitHttpFault | SubmitHangFault | SubmitResetFault | None:
        """The next submit's fault."""
        return self._draw("submit", self.plan.submit)

    def task(self) -> TaskFault:
        """How the next task goes."""
        return self._draw("task", self.plan.task) or TaskFault()

    def status(self) -> HttpFault | HangFault | ResetFault | None:
        """The next poll's fault."""
        return self._draw("status", self.plan.status)

    def result(self) -> BrokenResult | RedirectFault | DripFault | HangFault | ResetFault | None:
        """The next result download's fault."""
        return self._draw("result", self.plan.result)

    def _draw(self, route: str, course: Course[F]) -> F | None:
        call = self.calls[route]
        self.calls[route] += 1
        planned = call < len(course.sequence)
        fault = course.sequence[call] if planned else _by_chance(self._chance[route].random(), course.rates)
        self.hits[route] += fault is not None
        return fault


def _by_chance(point: float, rates: list[Rate[F]]) -> F | None:
    for rate in rates:
        if point < rate.rate:
            return rate.fault
        point -= rate.rate
    return None
