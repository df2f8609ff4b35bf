"""The contract over HTTP: what a client may rely on."""

import gzip
import re
import time
import zlib
from collections.abc import Callable

import pytest
import requests

from tests.enhancer.running import KEY, WAIT_SECONDS, Enhancer, Photos

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SUBMIT = "/v1/images/generations"


def test_a_submit_answers_with_a_pending_task_and_its_price(enhancer: Enhancer, small_url: str) -> None:
    answer = enhancer.submit(small_url)
    task = answer.json()
    assert answer.status_code == 200
    assert re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", task["id"])
    assert task["created"] == pytest.approx(time.time(), abs=60)
    assert (task["status"], task["progress"], task["type"]) == ("pending", 0, "image")
    assert (task["model"], task["object"]) == ("phota-image-enhance", "image.generation.task")
    assert task["task_info"]["can_cancel"] is True
    assert task["task_info"]["estimated_time"] >= 1
    assert task["usage"] == {"credits_reserved": 12}


def test_a_task_runs_to_a_result_that_can_be_downloaded(enhancer: Enhancer, small_url: str) -> None:
    task = enhancer.finished(enhancer.submit(small_url).json()["id"])
    assert (task["status"], task["progress"]) == ("completed", 100)
    [link] = task["results"]
    answer = requests.get(link["url"], timeout=WAIT_SECONDS)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == link["content_type"] == "image/jpeg"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content.startswith(b"\xff\xd8\xff")


def test_progress_grows_while_a_task_is_processed(enhancer: Enhancer, small_url: str) -> None:
    enhancer.plan(task={"sequence": [{"seconds": 30}]})
    task_id = enhancer.submit(small_url).json()["id"]
    progress: list[int] = []
    while len(set(progress)) < 4:
        task = enhancer.poll(task_id).json()
        assert task["status"] == "processing"
        progress.append(task["progress"])
        time.sleep(0.1)
    assert progress == sorted(progress)
    assert 0 < progress[-1] < 100


def test_only_sync_upstream_refreshes_a_task(enhancer: Enhancer, small_url: str) -> None:
    task_id = enhancer.submit(small_url).json()["id"]
    time.sleep(1)
    assert enhancer.poll(task_id, sync_upstream="false").json()["status"] == "pending"
    enhancer.finished(task_id)
    assert enhancer.poll(task_id, sync_upstream="false").json()["status"] == "completed"


@pytest.mark.parametrize("header", [None, "", f"Basic {KEY}", "Bearer", "Bearer wrong", f"Bearer {KEY}x"])
@pytest.mark.parametrize("path", [SUBMIT, "/v1/tasks/some", "/v1/account/credits", "/v1/models"])
def test_a_wrong_key_is_refused_before_anything_else(enhancer: Enhancer, path: str, header: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Authorization": header})
    method, body = ("POST", b"{") if path == SUBMIT else ("GET", None)
    answer = requests.request(method, enhancer.url + path, data=body, headers=headers, timeout=WAIT_SECONDS)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


def test_an_invalidated_key_is_refused(enhancer: Enhancer, small_url: str) -> None:
    enhancer.account(key_valid=False)
    assert enhancer.submit(small_url).status_code == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"{}", b"\xff", b'{"model": "phota-image-enhance"}'])
def test_a_malformed_request_is_400(enhancer: Enhancer, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = enhancer.session.post(enhancer.url + SUBMIT, data=body, headers=headers, timeout=WAIT_SECONDS)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "phota-image-dream"}, "model_not_found"),
        ({"image_url": "ftp://127.0.0.1/a.jpg"}, "invalid_image_url"),
        ({"image_url": "http://127.0.0.1/a b.jpg"}, "invalid_image_url"),
        ({"image_url": 1}, "invalid_image_url"),
        ({"resolution": "2K"}, None),
        ({"creativity": 1.01}, None),
        ({"creativity": "0.5"}, None),
        ({"resemblance": -0.01}, None),
        ({"resemblance": True}, None),
        ({"profile_ids": "one"}, None),
    ],
)
def test_a_bad_value_is_422_and_costs_nothing(
    enhancer: Enhancer, small_url: str, fields: dict[str, object], code: str | None
) -> None:
    before = enhancer.account()
    answer = enhancer.submit(**{"image_url": small_url, **fields})  # type: ignore[arg-type]  # on purpose
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert error["type"] == "invalid_request_error"
    assert error.get("code") == code
    assert next(iter(fields)) in error["message"]
    assert enhancer.account() == before


def test_an_error_never_repeats_the_url(enhancer: Enhancer) -> None:
    answer = enhancer.submit("http://127.0.0.1/a b.jpg?X-Amz-Signature=secret")
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/tasks/", "/v1/tasks/task-unified-1-a", "/nowhere", "/results/no"])
def test_an_unknown_path_is_404_in_the_contracts_form(enhancer: Enhancer, path: str) -> None:
    answer = enhancer.session.get(enhancer.url + path, timeout=WAIT_SECONDS, allow_redirects=False)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found"


def test_a_wrong_method_has_the_contracts_form(enhancer: Enhancer) -> None:
    answer = enhancer.session.get(enhancer.url + SUBMIT, timeout=WAIT_SECONDS)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_credits_are_reserved_at_submit_until_there_are_none(enhancer: Enhancer, small_url: str) -> None:
    enhancer.account(credits=30)
    assert enhancer.submit(small_url).status_code == 200
    dearer = enhancer.submit(small_url, profile_ids=["someone"])
    assert dearer.json()["usage"] == {"credits_reserved": 15}
    refused = enhancer.submit(small_url)
    assert refused.status_code == 402
    assert refused.json()["error"]["type"] == "insufficient_quota"
    credits = enhancer.session.get(f"{enhancer.url}/v1/account/credits", timeout=WAIT_SECONDS).json()
    assert credits["data"]["remaining_credits"] == 3


def test_the_model_is_listed(enhancer: Enhancer) -> None:
    models = enhancer.session.get(f"{enhancer.url}/v1/models", timeout=WAIT_SECONDS).json()
    assert [model["id"] for model in models["data"]] == ["phota-image-enhance"]


@pytest.mark.parametrize(
    "path",
    [
        "/b/a/b/../c.jpg",
        "/b/a/%2E%2E/c.jpg",
        "/b/a//b.jpg",
        "/b/my%20photo+1%25.jpg",
        "/b/%F0%9F%98%80%C3%BC.jpg",
        "/b/~(a)'!*;=@&$,.jpg",
        "/b/" + "k" * 1000 + ".jpg",
    ],
)
def test_the_url_is_fetched_exactly_as_given(enhancer: Enhancer, photos: Photos, small: bytes, path: str) -> None:
    query = "?X-Amz-Credential=a%2F20260101%2Fb&X-Amz-Signature=abc+%2B~"
    photos.requested.clear()
    task = enhancer.finished(enhancer.submit(photos.put(path, small) + query).json()["id"])
    assert task["status"] == "completed"
    assert photos.requested == [path + query]


def outcome(enhancer: Enhancer, url: str) -> tuple[str, str, str]:
    task = enhancer.finished(enhancer.submit(url).json()["id"])
    error = task.get("error", {})
    return task["status"], error.get("code", ""), error.get("message", "")


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("identity", bytes),
        ("aws-chunked", bytes),
        ("unknown", bytes),
    ],
)
def test_an_encoded_photo_is_decoded(
    enhancer: Enhancer, photos: Photos, small: bytes, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    url = photos.put("/b/encoded.jpg", encode(small), Content_Encoding=encoding)
    assert outcome(enhancer, url)[0] == "completed"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", bytes), ("deflate", bytes), ("gzip", lambda data: gzip.compress(data)[:-9])],
)
def test_a_photo_that_is_not_encoded_as_its_header_says_fails(
    enhancer: Enhancer, photos: Photos, small: bytes, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    """Like every HTTP client; S3 hands on the Content-Encoding that an object was stored with."""
    url = photos.put("/b/lying.jpg", encode(small), Content_Encoding=encoding)
    assert outcome(enhancer, url)[:2] == ("failed", "invalid_image_url")


def test_an_encoded_photo_is_decoded_up_to_the_limit(enhancer: Enhancer, photos: Photos) -> None:
    url = photos.put("/b/bomb.jpg", gzip.compress(bytes(70 * 1024 * 1024), 1), Content_Encoding="gzip")
    assert "larger than" in outcome(enhancer, url)[2]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_this_machine_is_followed(enhancer: Enhancer, photos: Photos, small: bytes, status: int) -> None:
    photos.put("/b/there.jpg", small)
    url = photos.put("/b/here", b"", status, Location="/b/there.jpg?X-Amz-Signature=1%2B")
    assert outcome(enhancer, url)[0] == "completed"
    assert photos.requested[-1] == "/b/there.jpg?X-Amz-Signature=1%2B"


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("/b/loop", "redirects more than"),
        ("http://169.254.169.254/", "not on this machine"),
        ("ftp://127.0.0.1/", "http"),
    ],
)
def test_a_redirect_that_leads_nowhere_fails(enhancer: Enhancer, photos: Photos, to: str, problem: str) -> None:
    url = photos.put("/b/loop", b"", 302, Location=to)
    status, code, message = outcome(enhancer, url)
    assert (status, code) == ("failed", "invalid_image_url")
    assert problem in message


def test_a_bucket_in_the_host_name_is_fetched_from_loopback(enhancer: Enhancer, photos: Photos, small_url: str) -> None:
    url = small_url.replace("127.0.0.1", "bucket.localhost")
    assert enhancer.finished(enhancer.submit(url).json()["id"])["status"] == "completed"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.jpg",
        "http://127.0.0.1:99999/a.jpg",
        "https://127.0.0.1:1/a.jpg",
        "http://192.0.2.1/a.jpg",
        "http://photos.example/a.jpg",
        "http://[/a.jpg",
    ],
)
def test_a_url_that_cannot_be_fetched_fails_the_task(enhancer: Enhancer, url: str) -> None:
    task = enhancer.finished(enhancer.submit(url).json()["id"])
    assert task["status"] == "failed"
    assert task["error"]["code"] == "invalid_image_url"
    assert task["error"]["type"] == "task_error"


def test_a_missing_photo_fails_the_task(enhancer: Enhancer, photos: Photos) -> None:
    url = f"http://{photos.authority}/gone.jpg?X-Amz-Signature=secret"
    error = enhancer.finished(enhancer.submit(url).json()["id"])["error"]
    assert error["code"] == "invalid_image_url"
    assert "404" in error["message"]
    assert "secret" not in error["message"]


def test_charged_tasks_are_listed_without_signatures(enhancer: Enhancer, small_url: str) -> None:
    options = {"resolution": "1K", "creativity": 0.3, "profile_ids": ["someone"]}
    task_id = enhancer.submit(f"{small_url}?X-Amz-Signature=secret", **options).json()["id"]
    enhancer.finished(task_id)
    listed = enhancer.tasks()[-1]
    assert listed["id"] == task_id
    assert listed["image"] == "/bucket/small.jpg"
    assert listed["options"] == options
    assert (listed["status"], listed["credits"]) == ("completed", 15)
    assert "secret" not in str(listed)


def test_a_result_link_expires(small_url: str) -> None:
    brief = Enhancer("--task-seconds", "0", "--result-seconds", "1")
    try:
        begun = time.monotonic()
        task = brief.finished(brief.submit(small_url).json()["id"])
        url = task["results"][0]["url"]
        early = requests.get(url, timeout=WAIT_SECONDS)
        # On a slow machine, this request can be too late.
        assert early.status_code == 200 or time.monotonic() - begun > 1
        time.sleep(1.2)
        expired = requests.get(url, timeout=WAIT_SECONDS)
        assert expired.status_code == 410
        assert "expired" in expired.json()["error"]["message"]
    finally:
        brief.close()


def test_sigterm_stops_it_during_a_hanging_request(small_url: str) -> None:
    hung = Enhancer()
    hung.plan(submit={"sequence": [{"kind": "hang", "created": True}]})
    with pytest.raises(requests.Timeout):
        hung.session.post(
            hung.url + SUBMIT,
            json={"model": "phota-image-enhance", "image_url": small_url},
            timeout=0.5,
        )
    assert hung.close() == 0
