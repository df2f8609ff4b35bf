"""The client over real sockets: every kind of answer and failure, and whether a task may have been created."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop import enhancer
from lumendrop.enhancer import Ambiguous, Enhancer, EnhancerError, Refused, TaskNotFound, TaskStatus, Unavailable
from lumendrop.options import Options
from tests.client import wire
from tests.client.conftest import Keys, short_timeouts
from tests.enhancer.running import Enhancer as Server

OPTIONS = Options("1K")
URL = "https://bucket.s3.amazonaws.com/photo.jpg?X-Amz-Signature=0123456789abcdef"
WAIT_SECONDS = 30


def ended(client: Enhancer, task_id: str) -> TaskStatus:
    deadline = time.monotonic() + WAIT_SECONDS
    while (status := client.status(task_id)).state == "waiting":
        assert time.monotonic() < deadline, "the task has not ended"
        time.sleep(0.05)
    return status


# ---------------------------------------------------------------- without faults


def test_a_task_is_created_with_the_options(server: Server, client: Enhancer, photo: str) -> None:
    before = len(server.tasks())
    task = client.submit(photo, Options("1K", 0.2, 0.7, ("p-1", "p-2")))

    (created,) = server.tasks()[before:]
    assert created["id"] == task.id
    assert created["image"] == "/bucket/photo.jpg"
    assert created["options"] == {
        "resolution": "1K",
        "creativity": 0.2,
        "resemblance": 0.7,
        "profile_ids": ["p-1", "p-2"],
    }
    assert task.estimated_seconds
    assert task.credits == created["credits"] == 15


@pytest.mark.parametrize("shape", ["objects", "output", "strings"])
def test_results_are_found_in_every_shape(server: Server, client: Enhancer, photo: str, shape: str) -> None:
    server.plan(task={"sequence": [{"shape": shape}]})
    status = ended(client, client.submit(photo, OPTIONS).id)

    assert status.state == "completed"
    assert status.result_url
    assert status.result_url.startswith(server.url)


def test_completed_without_results_means_waiting(server: Server, client: Enhancer, photo: str) -> None:
    server.plan(task={"sequence": [{"at_submit": True, "race_polls": 2, "race_progress": 50}]})
    task = client.submit(photo, OPTIONS)

    assert [client.status(task.id).state for _ in range(3)] == ["waiting", "waiting", "completed"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"end": "failed", "code": "content_policy_violation"}, "content_policy_violation"),
        ({"end": "failed", "code": "service_error"}, "service_error"),
        ({"end": "cancelled"}, "request_cancelled"),
    ],
)
def test_a_task_that_fails_has_the_reason(
    server: Server, client: Enhancer, photo: str, fault: dict[str, Any], code: str
) -> None:
    server.plan(task={"sequence": [{"at_submit": True} | fault]})
    status = client.status(client.submit(photo, OPTIONS).id)

    assert (status.state, status.error_code) == ("failed", code)


def test_an_unknown_task_is_not_found(client: Enhancer) -> None:
    with pytest.raises(TaskNotFound):
        client.status("unknown-task")


# ---------------------------------------------------------------- the contract's error table


SUBMIT_ERRORS: list[tuple[dict[str, Any], type[EnhancerError], str, bool]] = [
    ({"status": 400}, Refused, "invalid_request_error", False),
    ({"status": 401}, Unavailable, "authentication_error", True),
    ({"status": 402}, Unavailable, "insufficient_quota", True),
    ({"status": 422, "code": "unsupported_advanced_options"}, Refused, "unsupported_advanced_options", False),
    ({"status": 422, "code": "invalid_file_type"}, Refused, "invalid_file_type", False),
    ({"status": 422, "code": "invalid_image_url"}, Refused, "invalid_image_url", False),
    ({"status": 422, "code": "model_not_found"}, Unavailable, "model_not_found", True),
    ({"status": 422, "code": "no_compatible_channel"}, Unavailable, "no_compatible_channel", False),
    ({"status": 429}, Unavailable, "rate_limit_error", False),
    ({"status": 429, "body": "html"}, Unavailable, "http_429", False),
    ({"status": 500}, Ambiguous, "server_error", False),
    ({"status": 500, "code": "no_compatible_channel"}, Ambiguous, "no_compatible_channel", False),
    ({"status": 500, "code": "model_not_found"}, Ambiguous, "model_not_found", False),
    ({"status": 500, "body": "none"}, Ambiguous, "http_500", False),
    ({"status": 503}, Unavailable, "service_unavailable_error", False),
    ({"status": 503, "body": "none"}, Ambiguous, "http_503", False),
    ({"status": 503, "body": "html"}, Ambiguous, "http_503", False),
]


@pytest.mark.parametrize(("fault", "error", "code", "account"), SUBMIT_ERRORS, ids=lambda value: str(value)[:60])
def test_each_error_of_a_submit_has_its_class(
    server: Server,
    client: Enhancer,
    photo: str,
    fault: dict[str, Any],
    error: type[EnhancerError],
    code: str,
    account: bool,
) -> None:
    server.plan(submit={"sequence": [{"kind": "http"} | fault]})
    with pytest.raises(error) as caught:
        client.submit(photo, OPTIONS)

    assert type(caught.value) is error
    assert caught.value.code == code
    assert getattr(caught.value, "account", False) is account


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http", "status": 500, "created": True},
        {"kind": "http", "status": 503, "body": "html", "created": True},
        {"kind": "reset", "created": True},
        {"kind": "hang", "created": True},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_a_task_that_was_created_without_an_answer_is_ambiguous(
    server: Server, client: Enhancer, photo: str, fault: dict[str, Any]
) -> None:
    before = len(server.tasks())
    server.plan(submit={"sequence": [fault]})
    with short_timeouts(), pytest.raises(Ambiguous):
        client.submit(photo, OPTIONS)

    assert len(server.tasks()) == before + 1


@pytest.mark.parametrize(("seconds", "honoured"), [(7, 7), (0, 0), (100_000, 900)])
def test_retry_after_is_passed_on_within_limits(
    server: Server, client: Enhancer, photo: str, seconds: int, honoured: float
) -> None:
    fault = {"kind": "http", "status": 429, "retry_after": seconds}
    server.plan(submit={"sequence": [fault]}, status={"sequence": [fault]})
    with pytest.raises(Unavailable) as at_submit:
        client.submit(photo, OPTIONS)
    task = client.submit(photo, OPTIONS)
    with pytest.raises(Unavailable) as at_status:
        client.status(task.id)

    assert (at_submit.value.retry_after, at_status.value.retry_after) == (honoured, honoured)


STATUS_FAULTS = [
    {"kind": "http", "status": 401},
    {"kind": "http", "status": 402},
    {"kind": "http", "status": 429},
    {"kind": "http", "status": 500},
    {"kind": "http", "status": 503, "body": "html"},
    {"kind": "http", "status": 503, "body": "none"},
    {"kind": "reset"},
    {"kind": "hang"},
]


@pytest.mark.parametrize("fault", STATUS_FAULTS, ids=str)
def test_errors_of_a_status_call_do_not_affect_the_task(
    server: Server, client: Enhancer, photo: str, fault: dict[str, Any]
) -> None:
    task = client.submit(photo, OPTIONS)
    server.plan(status={"sequence": [fault]})
    with short_timeouts(), pytest.raises(Unavailable):
        client.status(task.id)

    assert ended(client, task.id).state == "completed"


# ---------------------------------------------------------------- the key


def test_a_changed_key_is_read_once(server: Server, keys: Keys, photo: str) -> None:
    keys.held = "sk-of-yesterday"

    assert Enhancer(server.url, keys).submit(photo, OPTIONS).id
    assert keys.held == keys.now


def test_a_wrong_key_creates_nothing(server: Server, photo: str) -> None:
    before = len(server.tasks())
    with pytest.raises(Unavailable) as caught:
        Enhancer(server.url, Keys("sk-wrong")).submit(photo, OPTIONS)

    assert caught.value.account
    assert "sk-wrong" not in str(caught.value)
    assert len(server.tasks()) == before


def test_an_empty_balance_is_an_account_error(server: Server, client: Enhancer, photo: str) -> None:
    server.account(credits=0)
    with pytest.raises(Unavailable) as caught:
        client.submit(photo, OPTIONS)

    assert caught.value.account


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"])
def test_a_redirect_is_not_followed_with_the_key(status: bytes) -> None:
    with wire.listening(wire.hang_after_request) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.port}/v1/images/generations".encode()
        head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
        with wire.listening(wire.answer(head)) as here, pytest.raises(Unavailable):
            client_of(here).submit(URL, OPTIONS)

        assert elsewhere.connections == 0


def test_proxy_and_netrc_of_the_environment_do_not_get_the_key(
    server: Server, photo: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{wire.refused_port()}")

    assert Enhancer(server.url, Keys()).submit(photo, OPTIONS).id


# ---------------------------------------------------------------- sent or not sent


def client_of(listener: wire.Listener, scheme: str = "http") -> Enhancer:
    return Enhancer(f"{scheme}://127.0.0.1:{listener.port}", Keys())


def test_with_a_refused_connection_nothing_was_sent() -> None:
    client = Enhancer(f"http://127.0.0.1:{wire.refused_port()}", Keys())
    with pytest.raises(Unavailable) as caught:
        client.submit(URL, OPTIONS)
    with pytest.raises(Unavailable):
        client.status("task-1")

    assert not caught.value.account


def test_with_a_name_that_does_not_resolve_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> Any:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(Unavailable):
        Enhancer("https://enhancer.test", Keys()).submit(URL, OPTIONS)


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.close()


@pytest.mark.parametrize("behaviour", [garbage, wire.hang, wire.close_at_once, wire.reset_at_once])
def test_with_a_failed_tls_handshake_nothing_was_sent(behaviour: wire.Behaviour) -> None:
    with wire.listening(behaviour) as listener, short_timeouts(), pytest.raises(Unavailable):
        client_of(listener, "https").submit(URL, OPTIONS)


def test_with_a_certificate_of_an_unknown_authority_nothing_was_sent(tls: ssl.SSLContext) -> None:
    received: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as secured:
            received.append(secured.recv(65536))

    with wire.listening(behaviour=behave) as listener, pytest.raises(Unavailable):
        client_of(listener, "https").submit(URL, OPTIONS)

    assert received in ([], [b""])


def test_a_certificate_of_an_authority_is_trusted_for_its_own_name(trusted: ssl.SSLContext) -> None:
    def behave(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), trusted.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"status": "processing"}')

    with wire.listening(behaviour=behave) as listener:
        right, wrong = (Enhancer(f"https://{host}:{listener.port}", Keys()) for host in ("127.0.0.1", "localhost"))
        assert right.status("task-1").state == "waiting"
        with pytest.raises(Unavailable, match="unreachable"):
            wrong.status("task-1")


SILENT = [
    wire.hang,
    wire.hang_after_request,
    wire.reset_after_request,
    wire.answer(b""),
    wire.answer(b"HTTP/1.1 200"),
    wire.answer(b"garbage\r\n\r\n"),
    wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    wire.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFF\r\n{"),
    wire.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
    wire.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    wire.answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
    wire.answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://[\r\n\r\n"),
    wire.answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://a.test/\xff\r\n\r\n"),
    wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b" " * 2_000_000),
    wire.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    wire.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
    wire.drip(b"", b"H"),
    wire.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
]


@pytest.mark.parametrize("behaviour", SILENT, ids=range(len(SILENT)))
def test_once_the_request_is_sent_a_task_may_exist(behaviour: wire.Behaviour) -> None:
    with wire.listening(behaviour) as listener, short_timeouts(), pytest.raises(Ambiguous) as caught:
        client_of(listener).submit(URL, OPTIONS)

    assert "0123456789abcdef" not in str(caught.value)
    assert listener.connections == 1


def test_a_complete_answer_counts_even_if_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = count()
    monkeypatch.setattr(enhancer, "time", SimpleNamespace(monotonic=lambda: next(hours) * 3600))
    task = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"id": "task-1"}'
    with wire.listening(wire.answer(task)) as listener:
        assert client_of(listener).submit(URL, OPTIONS).id == "task-1"


@pytest.mark.parametrize("behaviour", [wire.close_at_once, wire.reset_at_once])
def test_a_connection_that_ends_immediately_is_either(behaviour: wire.Behaviour) -> None:
    """The connection may end before or after the body is sent."""
    with wire.listening(behaviour) as listener, pytest.raises((Ambiguous, Unavailable)):
        client_of(listener).submit(URL, OPTIONS)


@pytest.mark.parametrize("behaviour", SILENT, ids=range(len(SILENT)))
def test_none_of_these_affects_the_task_of_a_status_call(behaviour: wire.Behaviour) -> None:
    with wire.listening(behaviour) as listener, short_timeouts(), pytest.raises(Unavailable):
        client_of(listener).status("task-1")


def test_a_connection_is_used_once() -> None:
    """A request that is lost on a closed idle connection would look ambiguous."""
    answers = b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"status":"processing"}'
    with wire.listening(wire.answer(answers)) as listener:
        client = client_of(listener)
        for _ in range(3):
            assert client.status("task-1").state == "waiting"

        assert listener.connections == 3


def test_a_gzipped_answer_is_read() -> None:
    body = gzip.compress(b'{"status": "processing", "progress": 7}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with wire.listening(wire.answer(head + body)) as listener:
        assert client_of(listener).status("task-1").progress == 7


# ---------------------------------------------------------------- the free request


def test_the_free_request_succeeds(client: Enhancer) -> None:
    client.probe()


@pytest.mark.parametrize(
    "answer",
    [b"200 OK\r\n\r\n<html>", b"502 Bad Gateway\r\n\r\n<html>", b"503 Unavailable\r\n\r\n", b"429 Slow\r\n\r\n{}"],
)
def test_the_free_request_fails_if_the_answer_is_not_the_apis(answer: bytes) -> None:
    with wire.listening(wire.answer(b"HTTP/1.1 " + answer)) as listener, pytest.raises(Unavailable):
        client_of(listener).probe()
