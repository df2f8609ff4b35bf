"""Fault plans, from the perspective of a client."""

import gzip
import time
from typing import Any

import pytest
import requests

from sandbox.enhancer.faults import FaultPlan, Faults
from tests.enhancer.running import WAIT_SECONDS, Enhancer

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def submit_faults(enhancer: Enhancer, *sequence: Any) -> None:
    assert enhancer.plan(submit={"sequence": sequence}).status_code == 200


def completed(enhancer: Enhancer, url: str) -> dict[str, Any]:
    task = enhancer.finished(enhancer.submit(url).json()["id"])
    assert task["status"] == "completed"
    return task


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        ({"status": 400}, "invalid_request_error"),
        ({"status": 401}, "authentication_error"),
        ({"status": 402}, "insufficient_quota"),
        ({"status": 422, "code": "unsupported_advanced_options"}, "invalid_request_error"),
        ({"status": 422, "code": "model_not_found"}, "invalid_request_error"),
        ({"status": 422, "code": "invalid_file_type"}, "invalid_request_error"),
        ({"status": 422, "code": "invalid_image_url"}, "invalid_request_error"),
        ({"status": 422, "code": "no_compatible_channel"}, "service_unavailable_error"),
        ({"status": 429, "retry_after": 7}, "rate_limit_error"),
        ({"status": 500}, "server_error"),
        ({"status": 503}, "service_unavailable_error"),
        *(({"status": status}, "server_error") for status in (502, 504, *range(520, 527))),
    ],
)
def test_an_http_error_has_the_contracts_body_and_creates_nothing(
    enhancer: Enhancer, small_url: str, fault: dict[str, Any], error_type: str
) -> None:
    before = len(enhancer.tasks())
    submit_faults(enhancer, {"kind": "http", **fault})
    answer = enhancer.submit(small_url)
    error = answer.json()["error"]
    assert answer.status_code == fault["status"]
    assert (error["type"], error.get("code")) == (error_type, fault.get("code"))
    assert answer.headers.get("Retry-After") == (str(fault["retry_after"]) if "retry_after" in fault else None)
    assert len(enhancer.tasks()) == before


@pytest.mark.parametrize(("body", "start"), [("none", ""), ("html", "<html>")])
def test_an_error_can_come_without_an_error_object(enhancer: Enhancer, small_url: str, body: str, start: str) -> None:
    submit_faults(enhancer, {"kind": "http", "status": 503, "body": body})
    answer = enhancer.submit(small_url)
    assert answer.status_code == 503
    assert answer.text.startswith(start)
    assert "error" not in answer.text


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize("kind", ["reset", "hang", "slow_headers", "http"])
def test_an_ambiguous_answer_may_have_created_a_task(
    enhancer: Enhancer, small_url: str, kind: str, created: bool
) -> None:
    fields: dict[str, dict[str, Any]] = {
        "reset": {},
        "hang": {"seconds": 0.3},
        "slow_headers": {"seconds": 1},
        "http": {"status": 500},
    }
    before, balance = enhancer.tasks(), enhancer.account()["credits"]
    submit_faults(enhancer, {"kind": kind, "created": created, **fields[kind]})
    if kind == "http":
        assert enhancer.submit(small_url).status_code == 500
    else:
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError), match="reset by peer"):
            enhancer.submit(small_url)
    assert len(enhancer.tasks()) == len(before) + created
    assert balance - enhancer.account()["credits"] == 12 * created


def test_a_hang_lasts_longer_than_the_clients_timeout(enhancer: Enhancer) -> None:
    enhancer.plan(status={"sequence": [{"kind": "hang"}]})
    task = enhancer.submit("http://127.0.0.1:1/").json()["id"]
    with pytest.raises(requests.ReadTimeout):
        enhancer.session.get(f"{enhancer.url}/v1/tasks/{task}", timeout=0.5)
    assert enhancer.poll(task).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"end": "completed"}, "completed"),
        ({"end": "failed", "code": "content_policy_violation"}, "failed"),
        ({"end": "cancelled"}, "cancelled"),
    ],
)
def test_a_submit_can_answer_with_the_end(
    enhancer: Enhancer, small_url: str, fault: dict[str, Any], status: str
) -> None:
    enhancer.plan(task={"sequence": [{"at_submit": True, **fault}]})
    task = enhancer.submit(small_url).json()
    assert task["status"] == status
    assert bool(task.get("results")) == (status == "completed")
    assert task.get("error", {}).get("code") == fault.get("code")


def test_the_race_completed_without_results(enhancer: Enhancer, small_url: str) -> None:
    enhancer.plan(task={"sequence": [{"race_polls": 2, "race_progress": 50}]})
    task_id = enhancer.submit(small_url).json()["id"]
    first = enhancer.finished(task_id)
    second, third = enhancer.poll(task_id).json(), enhancer.poll(task_id).json()
    for racing in (first, second):
        assert (racing["status"], racing["progress"], racing["results"]) == ("completed", 50, None)
    assert third["progress"] == 100
    assert third["results"]


def test_the_three_shapes_of_a_result(enhancer: Enhancer, small_url: str) -> None:
    shapes = ["objects", "output", "strings"]
    enhancer.plan(task={"sequence": [{"shape": shape} for shape in shapes]})
    objects, output, strings = (completed(enhancer, small_url) for _ in shapes)
    assert objects["results"][0]["url"].startswith(enhancer.url)
    assert "results" not in output
    assert output["output"]["url"] == output["output"]["urls"][0]
    assert (output["output"]["width"], output["output"]["height"]) == (1024, 683)
    assert requests.get(strings["results"][0], timeout=WAIT_SECONDS).ok


def test_a_task_can_fail_be_cancelled_or_never_end(enhancer: Enhancer, small_url: str) -> None:
    ends = [{"end": "failed", "code": "generation_timeout"}, {"end": "cancelled"}, {"end": "never"}]
    enhancer.plan(task={"sequence": ends})
    failed, cancelled, stuck = (enhancer.submit(small_url).json()["id"] for _ in ends)
    assert enhancer.finished(failed)["error"]["code"] == "generation_timeout"
    assert enhancer.finished(cancelled)["status"] == "cancelled"
    assert enhancer.poll(stuck).json()["status"] == "processing"


def test_a_poll_can_fail_in_every_way(enhancer: Enhancer, small_url: str) -> None:
    http = [{"kind": "http", "status": status} for status in (401, 404, 429, 500, 503)]
    enhancer.plan(status={"sequence": [*http, {"kind": "reset"}, None]})
    task_id = enhancer.submit(small_url).json()["id"]
    assert [enhancer.poll(task_id).status_code for _ in http] == [401, 404, 429, 500, 503]
    with pytest.raises(requests.ConnectionError):
        enhancer.poll(task_id)
    assert enhancer.poll(task_id).status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("missing", 404), ("expired", 410), ("error", 500)])
def test_a_result_can_be_missing(enhancer: Enhancer, small_url: str, kind: str, status: int) -> None:
    enhancer.plan(result={"sequence": [{"kind": kind}]})
    url = completed(enhancer, small_url)["results"][0]["url"]
    assert requests.get(url, timeout=WAIT_SECONDS).status_code == status
    assert requests.get(url, timeout=WAIT_SECONDS).status_code == 200


def test_a_result_can_be_faulty(enhancer: Enhancer, small_url: str) -> None:
    broken = [{"kind": kind} for kind in ("truncated", "wrong_length", "gzip", "html", "reset")]
    enhancer.plan(result={"sequence": [None, *broken, {"kind": "redirect", "to": "http://169.254.169.254/"}]})
    url = completed(enhancer, small_url)["results"][0]["url"]
    whole = requests.get(url, timeout=WAIT_SECONDS).content
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.get(url, timeout=WAIT_SECONDS)
    assert requests.get(url, timeout=WAIT_SECONDS).content == whole[:-1000]
    packed = requests.get(url, timeout=WAIT_SECONDS, headers={"Accept-Encoding": "identity"}, stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.raw.read()) == whole
    assert requests.get(url, timeout=WAIT_SECONDS).headers["Content-Type"].startswith("text/html")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        requests.get(url, timeout=WAIT_SECONDS)
    redirect = requests.get(url, timeout=WAIT_SECONDS, allow_redirects=False)
    assert (redirect.status_code, redirect.headers["Location"]) == (302, "http://169.254.169.254/")


def test_a_result_can_be_endless_or_drip(enhancer: Enhancer, small_url: str) -> None:
    enhancer.plan(result={"sequence": [{"kind": "endless"}, {"kind": "drip", "bytes_per_second": 100}]})
    url = completed(enhancer, small_url)["results"][0]["url"]
    with requests.get(url, timeout=WAIT_SECONDS, stream=True) as endless:
        assert "Content-Length" not in endless.headers
        assert sum(len(chunk) for _, chunk in zip(range(300), endless.iter_content(65536), strict=False)) > 10**7
    begun = time.monotonic()
    with requests.get(url, timeout=WAIT_SECONDS, stream=True) as drip:
        assert int(drip.headers["Content-Length"]) > 1000
        assert len(next(drip.iter_content(150))) == 150
        assert time.monotonic() - begun > 0.5


def statuses(enhancer: Enhancer, url: str, task_id: str) -> dict[str, int]:
    """The HTTP status of each route."""
    get = enhancer.session.get
    return {
        "submit": enhancer.submit(url).status_code,
        "status": enhancer.poll(task_id).status_code,
        "models": get(f"{enhancer.url}/v1/models", timeout=WAIT_SECONDS).status_code,
        "credits": get(f"{enhancer.url}/v1/account/credits", timeout=WAIT_SECONDS).status_code,
    }


def test_an_outage_affects_every_route_while_it_lasts(enhancer: Enhancer, small_url: str) -> None:
    task_id = enhancer.submit(small_url).json()["id"]
    result = enhancer.finished(task_id)["results"][0]["url"]
    before = len(enhancer.tasks())
    fault = {"kind": "http", "status": 522, "body": "html"}
    enhancer.plan(outages=[{"seconds": 3600, "fault": fault}])
    assert set(statuses(enhancer, small_url, task_id).values()) == {522}
    assert requests.get(result, timeout=WAIT_SECONDS).status_code == 522
    assert len(enhancer.tasks()) == before
    counts = enhancer.session.get(f"{enhancer.url}/_sandbox/faults", timeout=WAIT_SECONDS).json()
    assert counts["hits"] == {"submit": 1, "task": 0, "status": 1, "result": 1, "models": 1, "credits": 1}
    enhancer.plan(outages=[{"seconds": 0.001, "fault": fault}, {"starts_in": 3600, "fault": fault}])
    time.sleep(0.05)
    assert set(statuses(enhancer, small_url, task_id).values()) == {200}


def test_an_outage_can_affect_some_routes_only(enhancer: Enhancer, small_url: str) -> None:
    task_id = enhancer.submit(small_url).json()["id"]
    enhancer.plan(outages=[{"routes": ["submit"], "fault": {"kind": "http", "status": 404, "body": "html"}}])
    assert statuses(enhancer, small_url, task_id) == {"submit": 404, "status": 200, "models": 200, "credits": 200}


def test_outages_begin_and_end_on_time() -> None:
    # The first time is that of the plan.
    times = iter((100.0, 100.0, 109.0, 110.0, 129.0, 130.0))
    plan = FaultPlan.model_validate({"outages": [{"starts_in": 10, "seconds": 20, "fault": {"kind": "reset"}}]})
    faults = Faults(plan, lambda: next(times))
    found = [faults.outage("models") is not None for _ in range(5)]
    assert found == [False, False, True, True, False]


def test_a_plan_is_reproducible(enhancer: Enhancer) -> None:
    plan = {"seed": 7, "submit": {"rates": [{"rate": 0.5, "fault": {"kind": "http", "status": 503}}]}}

    def play() -> list[int]:
        enhancer.plan(**plan)
        return [enhancer.submit("http://127.0.0.1:1/").status_code for _ in range(20)]

    first = play()
    assert set(first) == {200, 503}
    assert play() == first
    played = enhancer.session.get(f"{enhancer.url}/_sandbox/faults", timeout=WAIT_SECONDS).json()
    assert played["plan"]["seed"] == 7
    assert played["calls"]["submit"] == 20
    assert played["hits"]["submit"] == first.count(503)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        ({"submit": {"sequence": [{"kind": "explode"}]}}, "submit.sequence.0"),
        ({"submit": {"sequence": [{"kind": "http", "status": 418}]}}, "status"),
        ({"status": {"sequence": [{"kind": "reset", "created": True}]}}, "created"),
        ({"task": {"sequence": [{"end": "never", "at_submit": True}]}}, "at_submit"),
        ({"result": {"rates": [{"rate": 1.5, "fault": {"kind": "html"}}]}}, "rate"),
        ({"submit": {"rates": [{"rate": 0.6, "fault": {"kind": "reset"}}] * 2}}, "the sum of the rates"),
        ({"outages": [{"fault": {"kind": "reset"}, "routes": ["upload"]}]}, "routes"),
        ({"outages": [{"fault": {"kind": "reset"}, "seconds": 0}]}, "seconds"),
        ({"upload": {}}, "upload"),
    ],
)
def test_a_bad_plan_is_rejected(enhancer: Enhancer, plan: dict[str, Any], named: str) -> None:
    answer = enhancer.plan(**plan)
    assert answer.status_code == 422
    assert named in answer.json()["error"]["message"]
