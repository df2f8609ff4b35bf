"""check_status, through its handler: how it interprets the answers of the enhancer, and how long it waits."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import pytest
import requests

from lumendrop import outcomes
from lumendrop.enhancer import RETRYABLE_CODES
from lumendrop.polling import Poll
from tests.unit.conftest import LoadFunction
from tests.unit.world import API, KEY, RESULT_URL, Answer, Broken, Context, Reply, World, refusal, sample

NOW = int(time.time())
NO_TIME = 30  # the seconds left: enough for one poll, but not for two


class Clock:
    """Time that advances only in sleep."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def check_status(function: LoadFunction, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = function("check_status")
    monkeypatch.setattr(module, "time", clock)
    return module


def request(*, submitted: float = 60, left: float = 3600, estimated: float | None = 45, **poll: Any) -> Any:
    """The sample event, with a task that was submitted `submitted` seconds ago and is due in `left` seconds."""
    event = sample("check_status")
    times = {"submitted_at": NOW - int(submitted), "deadline": NOW + int(left), "estimated_seconds": estimated}
    return event | {"task": event["task"] | times, "poll": event["poll"] | poll}


def ask(world: World, check_status: ModuleType, reply: Reply, **poll: Any) -> Poll:
    world.enhancer.on_status.append(reply)
    return msgspec.convert(check_status.handler(request(**poll), Context(NO_TIME)), Poll)


def watch(world: World, check_status: ModuleType, *replies: Reply, seconds: float = 120, **fields: Any) -> Poll:
    """Polls a task while the enhancer gives these answers, and then that the task is running."""
    world.enhancer.on_status.extend(replies)
    return msgspec.convert(check_status.handler(request(**fields), Context(seconds)), Poll)


def task(status: str, **more: Any) -> Answer:
    return Answer(200, {"id": "task-1", "object": "image.generation.task", "status": status, "progress": 40} | more)


def test_asks_for_the_task_with_the_key(world: World, check_status: ModuleType) -> None:
    check_status.handler(sample("check_status"), Context())

    assert world.enhancer.asked == [f"{API}/v1/tasks/task-unified-1769860803-uyujaw3d?sync_upstream=true"]
    assert world.enhancer.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("status", ["pending", "processing", "queued", "PROCESSING", "something new"])
def test_a_running_task_is_waited_for(world: World, check_status: ModuleType, status: str) -> None:
    poll = ask(world, check_status, task(status), polls=3, unreachable=2, not_found=1)

    assert (poll.state, poll.polls, poll.progress) == ("waiting", 4, 40)
    assert (poll.unreachable, poll.not_found) == (0, 0)
    assert poll.wait_seconds >= 2


@pytest.mark.parametrize(
    "results",
    [
        {"results": [{"url": RESULT_URL, "content_type": "image/jpeg"}]},
        {"results": [{"url": RESULT_URL}, {"url": "https://results.test/2"}]},
        {"results": [RESULT_URL]},
        {"output": {"url": RESULT_URL, "urls": [RESULT_URL], "width": 1024, "height": 1024}},
        {"output": {"urls": [RESULT_URL]}, "results": None},
        {"results": [], "output": {"url": RESULT_URL}},
    ],
)
def test_results_are_found_in_every_shape(world: World, check_status: ModuleType, results: Any) -> None:
    poll = ask(world, check_status, task("completed", **results))

    assert poll.state == "completed"
    assert RESULT_URL not in str(poll)


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"results": None},
        {"results": [], "progress": 50},
        {"results": [None, 7, {}, {"url": None}, ""]},
        {"output": {}},
        {"output": {"url": "", "urls": None}},
        {"result_type": "profile", "profile_id": "p-1"},
        {"results": "soon"},
    ],
)
def test_completed_without_a_result_is_not_finished(world: World, check_status: ModuleType, results: Any) -> None:
    poll = ask(world, check_status, task("completed", **results))

    assert poll.state == "waiting"


FAILURES = [
    ("failed", {"code": "content_policy_violation", "message": "no faces"}, "content_policy_violation", "no faces"),
    ("failed", {"code": "service_error", "message": "oops"}, "service_error", "oops"),
    ("failed", {"message": "oops", "type": "task_error"}, "task_error", "oops"),
    ("failed", "just text", "unknown_error", "just text"),
    ("failed", None, "unknown_error", "no explanation"),
    ("failed", {"code": 7, "message": ["a"]}, "7", "a"),
    ("cancelled", None, "request_cancelled", "no explanation"),
    ("error", None, "unknown_error", "status error"),
    ("expired", None, "task_expired", "status expired"),
    ("EXPIRED", {"message": "too old"}, "task_expired", "too old"),
    ("canceled", {"code": "request_cancelled", "message": "by you"}, "request_cancelled", "by you"),
]


@pytest.mark.parametrize(("status", "error", "code", "words"), FAILURES)
def test_a_failed_task_has_the_reason(
    world: World, check_status: ModuleType, status: str, error: Any, code: str, words: str
) -> None:
    poll = ask(world, check_status, task(status, error=error))

    assert poll.state == "failed"
    assert poll.outcome
    assert (poll.outcome.status, poll.outcome.code) == ("failed", code)
    assert words in poll.outcome.message
    assert poll.outcome.may_have_cost
    assert poll.outcome.advice


@pytest.mark.parametrize(
    "code", [*sorted(RETRYABLE_CODES), "invalid_parameters", "brand_new_code", "request_cancelled"]
)
def test_only_transient_failures_are_retryable(world: World, check_status: ModuleType, code: str) -> None:
    poll = ask(world, check_status, task("failed", error={"code": code, "message": "m"}))

    assert poll.retryable is (code in RETRYABLE_CODES)


def test_a_task_that_is_unknown_in_five_consecutive_polls_is_lost(world: World, check_status: ModuleType) -> None:
    poll = Poll()
    for misses in range(1, 6):
        poll = ask(world, check_status, refusal(404, "not_found"), **msgspec.to_builtins(poll))
        assert poll.not_found == misses
        assert poll.state == ("failed" if misses == 5 else "waiting")

    assert poll.outcome
    assert poll.outcome.code == "task_not_found"
    assert poll.outcome.may_have_cost
    assert not poll.retryable


def test_a_task_that_is_found_again_is_not_lost(world: World, check_status: ModuleType) -> None:
    poll = ask(world, check_status, task("processing"), not_found=4)

    assert (poll.state, poll.not_found) == ("waiting", 0)


UNUSABLE: dict[str, Reply] = {
    "404 of a gateway": Answer(404, b"<html>nginx</html>"),
    "404 in JSON that is not the API's": Answer(404, {"message": "no Route matched with those values"}),
    "404 with an error without a type": Answer(404, {"error": {"message": "Not Found"}}),
    "400": refusal(400, "invalid_request_error"),
    "401": refusal(401, "authentication_error"),
    "402": refusal(402, "insufficient_quota"),
    "429": refusal(429, "rate_limit_error"),
    "500": refusal(500, "server_error"),
    "502 of a proxy": Answer(502, b"<html>Bad gateway</html>"),
    "503": refusal(503, "service_unavailable_error"),
    "redirect": Answer(302, b"", {"Location": "https://elsewhere.test/"}),
    "redirect without a URL": Answer(302, b"", {"Location": "https://["}),
    "an empty answer": Answer(200, b""),
    "a page": Answer(200, b"<html>Welcome</html>"),
    "a list": Answer(200, []),
    "no status": Answer(200, {"id": "task-1"}),
    "a number for a status": Answer(200, {"status": 7}),
    "too long": Answer(200, b'"' + b"x" * (1 << 21) + b'"'),
    "deeply nested": Answer(200, b"[" * 100_000),
    "cut short": Answer(200, b'{"status": "completed"', {"Content-Length": "1000"}),
    "no connection": Broken(requests.ConnectTimeout("no"), sent=False),
    "no answer": Broken(requests.ReadTimeout("no"), sent=True),
}


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_answer_does_not_mean_a_failed_task(world: World, check_status: ModuleType, reply: Reply) -> None:
    poll = ask(world, check_status, reply)

    assert (poll.state, poll.unreachable) == ("waiting", 1)
    assert 5 <= poll.wait_seconds <= 120


def test_the_wait_for_an_unavailable_enhancer_grows_to_two_minutes(world: World, check_status: ModuleType) -> None:
    poll = Poll()
    waits = []
    for _ in range(8):
        poll = ask(world, check_status, refusal(500, "server_error"), **msgspec.to_builtins(poll))
        waits.append(poll.wait_seconds)

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (5, 120)
    assert poll.unreachable == 8


@pytest.mark.parametrize(("header", "wait"), [("1", 5), ("30", 30), ("86400", 120)])
def test_retry_after_is_honored_within_limits(world: World, check_status: ModuleType, header: str, wait: int) -> None:
    poll = ask(world, check_status, refusal(429, "rate_limit_error", Retry_After=header))

    assert poll.wait_seconds == wait


@pytest.mark.parametrize(
    "reply", [task("processing"), refusal(404, "not_found"), refusal(500, "server_error")], ids=["runs", "404", "500"]
)
def test_a_wait_never_exceeds_the_deadline(world: World, check_status: ModuleType, reply: Reply) -> None:
    world.enhancer.on_status.append(reply)
    answer = check_status.handler(request(submitted=3000, left=3, unreachable=9), Context(NO_TIME))

    assert 1 <= answer["wait_seconds"] <= 3


def test_past_the_deadline_the_wait_is_short(world: World, check_status: ModuleType) -> None:
    assert check_status.handler(request(left=-100), Context())["wait_seconds"] == 1
    assert len(world.enhancer.asked) == 1


def test_a_completed_task_counts_even_after_the_deadline(world: World, check_status: ModuleType) -> None:
    world.enhancer.on_status.append(task("completed", results=[RESULT_URL]))

    assert check_status.handler(request(left=-100), Context())["state"] == "completed"


def test_a_changed_key_is_read_again_after_a_401(world: World, check_status: ModuleType) -> None:
    ask(world, check_status, task("processing"))
    world.secrets.put_secret_value(SecretId="key", SecretString="sk-new")
    world.enhancer.on_status.append(refusal(401, "authentication_error"))
    poll = ask(world, check_status, task("processing"))

    assert world.enhancer.keys[1:] == [f"Bearer {KEY}", "Bearer sk-new"]
    assert poll.unreachable == 0


def test_an_unreadable_key_means_waiting(world: World, check_status: ModuleType) -> None:
    world.secrets.delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    poll = msgspec.convert(check_status.handler(request(), Context()), Poll)

    assert (poll.state, poll.unreachable) == ("waiting", 1)
    assert world.enhancer.asked == []


@pytest.mark.parametrize("where", ["message", "code", "type"])
@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("quoted", [KEY, "https://b.test/k?X-Amz-Signature=abc", "X-Amz-Signature=abc"])
def test_secrets_that_the_vendor_quotes_are_removed(
    world: World, check_status: ModuleType, logs: io.StringIO, where: str, status: int, quoted: str
) -> None:
    error = {"message": "no", "code": "c", "type": "t", where: f"no {quoted}"}
    if where == "type":
        del error["code"]
    world.enhancer.on_status.append(Answer(status, {"status": "failed", "error": error}))
    answer = check_status.handler(request(not_found=4), Context())

    for text in (str(answer), logs.getvalue()):
        assert KEY not in text
        assert "=abc" not in text
    assert logs.getvalue()


@pytest.mark.parametrize("quoted", [KEY, "https://b.test/a?X-Amz-Signature=abc"])
def test_secrets_in_an_undocumented_status_are_removed(
    world: World, check_status: ModuleType, logs: io.StringIO, quoted: str
) -> None:
    poll = ask(world, check_status, task(f"see {quoted}"))

    for text in (poll.remark, logs.getvalue()):
        assert "last status was 'see " in text
        assert KEY not in text
        assert "=abc" not in text


def test_a_task_id_is_one_segment_of_the_path(world: World, check_status: ModuleType) -> None:
    event = request()
    event["task"]["id"] = "../account/credits?x=1#y"
    check_status.handler(event, Context(NO_TIME))

    assert world.enhancer.asked == [f"{API}/v1/tasks/..%2Faccount%2Fcredits%3Fx%3D1%23y?sync_upstream=true"]


@pytest.mark.parametrize("event", [{}, {"task": {}, "poll": {}}, {"task": {"id": "t"}}])
def test_an_event_that_is_not_from_the_workflow_is_refused(check_status: ModuleType, event: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        check_status.handler(event, Context())


# Several polls in one invocation.


def test_polls_a_task_until_it_has_ended(world: World, check_status: ModuleType, clock: Clock) -> None:
    poll = watch(world, check_status, task("processing"), task("processing"), task("completed", results=[RESULT_URL]))

    assert (poll.state, poll.polls) == ("completed", 3)
    assert len(clock.slept) == 2
    assert all(1 <= seconds <= 5 for seconds in clock.slept)


def test_returns_in_time_for_a_slow_poll(world: World, check_status: ModuleType, clock: Clock) -> None:
    begun = clock.now
    poll = watch(world, check_status, seconds=120)

    assert poll.state == "waiting"
    assert 80 <= clock.now - begun <= 90


@pytest.mark.parametrize(
    "reply", [refusal(429, "rate_limit_error"), refusal(503, "x"), refusal(404, "not_found")], ids=["429", "503", "404"]
)
def test_returns_immediately_after_an_unusable_answer(world: World, check_status: ModuleType, reply: Reply) -> None:
    poll = watch(world, check_status, task("processing"), reply)

    assert (poll.state, poll.polls) == ("waiting", 2)


def test_polls_once_after_lambda_throttled_it(world: World, check_status: ModuleType, clock: Clock) -> None:
    poll = watch(world, check_status, lambda_throttled=True)

    assert (poll.polls, poll.lambda_throttled, clock.slept) == (1, True, [])
    assert poll.wait_seconds >= 10


def test_a_state_of_another_version_is_accepted(world: World, check_status: ModuleType) -> None:
    """An execution keeps its definition during an update, so its state can lack fields or have unknown ones."""
    event = request(field_of_another_version=True)
    del event["poll"]["lambda_throttled"]
    world.enhancer.on_status.append(task("completed", results=[{"url": RESULT_URL}]))

    assert check_status.handler(event, Context(NO_TIME))["state"] == "completed"


def test_leaves_long_waits_to_the_workflow(world: World, check_status: ModuleType, clock: Clock) -> None:
    poll = watch(world, check_status, submitted=600)

    assert (poll.polls, clock.slept) == (1, [])
    assert 45 <= poll.wait_seconds <= 300


def test_returns_at_the_deadline(world: World, check_status: ModuleType, clock: Clock) -> None:
    begun = clock.now
    poll = watch(world, check_status, left=7)

    assert poll.state == "waiting"
    assert 7 <= clock.now - begun < 9


def test_after_a_429_the_task_is_polled_less_often(world: World, check_status: ModuleType) -> None:
    waits = [ask(world, check_status, task("processing"), throttled=times).wait_seconds for times in (0, 1, 2, 3, 100)]

    assert waits == sorted(waits)
    assert waits[3] >= 7 * waits[0]
    assert waits[4] <= 300


def test_429s_are_counted_permanently(world: World, check_status: ModuleType) -> None:
    poll = ask(world, check_status, refusal(429, "rate_limit_error"))
    poll = ask(world, check_status, task("processing"), **msgspec.to_builtins(poll))

    assert (poll.throttled, poll.unreachable) == (1, 0)


def long_task(world: World, check_status: ModuleType, progress: Callable[[float], float]) -> Poll:
    """The last poll of a long task whose progress is a function of its seconds."""
    poll = Poll()
    for seconds in (20, 40, 60):
        now = task("processing", progress=progress(seconds))
        poll = ask(world, check_status, now, submitted=seconds, **msgspec.to_builtins(poll))
    return poll


def test_reliable_progress_is_used(world: World, check_status: ModuleType) -> None:
    poll = long_task(world, check_status, lambda seconds: seconds / 10)

    assert poll.total_seconds == pytest.approx(1000)
    assert poll.wait_seconds == 60


@pytest.mark.parametrize(
    "progress",
    [lambda _: 0, lambda _: 90, lambda _: 100, lambda seconds: seconds**2 / 100, lambda seconds: 99 - seconds],
    ids=["none", "stuck", "done", "late", "backwards"],
)
def test_unreliable_progress_is_ignored(
    world: World, check_status: ModuleType, progress: Callable[[float], float]
) -> None:
    poll = long_task(world, check_status, progress)

    assert poll.total_seconds is None
    assert poll.wait_seconds <= 5


def test_a_task_that_succeeded_is_completed(world: World, check_status: ModuleType) -> None:
    assert ask(world, check_status, task("succeeded", results=[RESULT_URL])).state == "completed"


@pytest.mark.parametrize("status", ["paused", "TIMEOUT", "rejected", "", "a\x1b[2J" + "b" * 500])
def test_a_status_that_is_not_documented_is_waited_for_and_quoted(
    world: World, check_status: ModuleType, status: str
) -> None:
    poll = ask(world, check_status, task(status))
    again = ask(world, check_status, task("processing"), **msgspec.to_builtins(poll))

    assert (poll.state, again.state, again.remark) == ("waiting", "waiting", "")
    assert status[:1] in poll.remark
    assert poll.remark.isprintable()
    assert len(poll.remark) < 200


@pytest.mark.parametrize("code", ["unknown_error", "task_expired", "request_cancelled"])
def test_an_unexplained_failure_does_not_claim_that_another_task_would_fail(
    world: World, check_status: ModuleType, code: str
) -> None:
    poll = ask(world, check_status, task("failed", error={"code": code, "message": "m"}))

    assert poll.outcome
    assert "may succeed" in poll.outcome.advice


def test_a_lost_task_is_fetched_before_it_is_paid_for_again() -> None:
    advice = outcomes.outcome("task_not_found", polls=5).advice

    assert advice.index("lumendrop fetch KEY") < advice.index("lumendrop retry KEY")
