"""Clients that are slow, silent, many, or gone: the board stays usable, holds little, and finishes what it began."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from lumendrop_cli.board import connections, header, live
from lumendrop_cli.board.live import Budget, Feed, Reader
from tests.board.fakes import Client, FakeStack

SECONDS = 10


@pytest.fixture(autouse=True)
def _nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "SOURCES", ())
    monkeypatch.setattr(live.ledger_index, "pages", lambda *_, **__: iter([]))


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(client: Client, opened: ExitStack, sent: str = "") -> socket.socket:
    """A connection that has sent this, to be followed by CR LF CR LF."""
    connection = opened.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=SECONDS))
    connection.sendall(sent.replace("\n", "\r\n").encode())
    return connection


def request(client: Client, line: str, *more: str) -> str:
    """The head of a request of the board's own page."""
    headers = [f"{name}: {value}" for name, value in client.page()]
    return "\n".join([line, f"Host: {client.host}", *headers, *more, "", ""])


def status(connection: socket.socket) -> int:
    return int(connection.recv(4096).split()[1])


def test_many_pages_are_bounded(board: Client, opened: ExitStack) -> None:
    head = request(board, "GET /api/events HTTP/1.1")
    found = [status(connect(board, opened, head)) for _ in range(live.MAX_PAGES + 30)]
    assert found == [200] * live.MAX_PAGES + [503] * 30
    assert board.send("GET", "/api/config", board.page()).status == 200
    opened.close()
    end = time.monotonic() + SECONDS
    while (again := status(connect(board, opened, head))) == 503:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert again == 200


@pytest.mark.parametrize(
    "sent", ["", "GET / HTTP/1.1\nHost: ", "GET /main.js HTTP/1.1\nHost: evil\n\nGET / HTTP/1.1\nA"]
)
def test_a_client_that_does_not_finish_its_request_is_disconnected(
    sent: str, board: Client, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    connection = connect(board, opened, sent)
    while connection.recv(4096):
        pass


def test_a_page_stays_connected(board: Client, opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    connection = connect(board, opened, request(board, "GET /api/events HTTP/1.1"))
    assert status(connection) == 200
    connection.settimeout(1)
    with pytest.raises(TimeoutError):
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("target", ["/api/events", "/media?key=a&version=1&side=before", "/"])
def test_a_head_request_starts_nothing(target: str, board: Client, stack: FakeStack) -> None:
    before = stack.calls
    assert board.send("HEAD", target, board.page()).status == 405
    assert stack.calls == before


def test_a_page_that_does_not_read_is_given_up(stack: FakeStack) -> None:
    async def visit() -> list[str]:
        feed = Feed(Reader(stack, live.IN_SANDBOX), Budget(1000))  # type: ignore[arg-type]
        events = feed.events()
        found = [await anext(events)]
        for _ in range(live.QUEUED_MESSAGES + 2):
            feed._send("event")
        found += [one async for one in events]
        return found

    assert len(asyncio.run(visit())) <= live.QUEUED_MESSAGES + 2


def test_an_upload_whose_page_is_gone_is_stored_whole(
    board: Client, stack: FakeStack, opened: ExitStack, capfd: pytest.CaptureFixture[str]
) -> None:
    received: list[bytes] = []

    def store(Body: Any, **_: Any) -> dict[str, str]:  # noqa: N803  # the parameter of S3
        found = b""
        while part := Body.read(10):
            found += part
            time.sleep(0.05)
        received.append(found)
        return {"VersionId": "1"}

    stack.client("s3").put_object.side_effect = store
    body = bytes(range(100))
    head = request(
        board,
        "POST /api/uploads?name=a.jpg HTTP/1.1",
        "Content-Type: application/octet-stream",
        f"Content-Length: {len(body)}",
    )
    connection = connect(board, opened, head)
    connection.sendall(body)
    assert status(connection) == 200
    connection.close()
    end = time.monotonic() + SECONDS
    while not received:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert received == [body]
    assert "Traceback" not in capfd.readouterr().err


def test_an_upload_that_is_cut_off_stores_nothing(board: Client, stack: FakeStack, opened: ExitStack) -> None:
    head = request(
        board, "POST /api/uploads?name=a.jpg HTTP/1.1", "Content-Type: application/octet-stream", "Content-Length: 100"
    )
    connection = connect(board, opened, head)
    connection.sendall(b"x" * 50)
    connection.close()
    time.sleep(0.2)
    assert board.send("GET", "/api/config", board.page()).status == 200
    assert not stack.client("s3").put_object.called
