"""A board on this machine whose stack is a fake that counts the calls to AWS."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import MagicMock

from lumendrop_cli.board.server import create_server
from lumendrop_cli.stack import Options

TOKEN = "a-token-that-nobody-can-guess"
OPTIONS = Options("lumendrop", None, None, None, False)


@dataclass
class FakeStack:
    """The parts of a stack that the board uses. `calls` has the services whose client was used after the start."""

    name: str = "lumendrop"
    is_sandbox: bool = True
    parameters: dict[str, str] = field(
        default_factory=lambda: {
            "InputPrefix": "",
            "MaxUploadBytes": "1000",
            "DailyTaskLimit": "10",
            "Resolution": "4K",
        }
    )
    clients: dict[str, MagicMock] = field(default_factory=dict)

    def client(self, service: str) -> MagicMock:
        client = self.clients.setdefault(service, MagicMock(name=service))
        client.meta.region_name = "us-east-1"
        return client

    def output(self, name: str) -> str:
        return name.lower()

    def parameter(self, name: str) -> str:
        return self.parameters[name]

    def whole_number(self, name: str) -> int:
        return int(self.parameters[name])

    def resource(self, name: str) -> str:
        return name

    def physical_ids(self, *_: str) -> list[str]:
        return []

    def on_call(self, _: Any) -> None:
        pass

    @property
    def calls(self) -> list[str]:
        return [f"{name}{call}" for name, client in self.clients.items() for call in client.mock_calls]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    text: str


class Client:
    """Sends requests exactly as given: nothing is added but a Host header, unless there is one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"

    def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", timeout: float = 10
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            if not any(name.lower() == "host" for name, _ in headers):
                connection.putheader("Host", self.host)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)
        finally:
            connection.close()

    def cookie(self) -> str:
        """The cookie of a browser that has opened the printed address."""
        answer = self.send("GET", f"/?token={TOKEN}")
        assert answer.status == 200, answer.text
        return answer.headers["set-cookie"].partition(";")[0]

    def page(self, **more: str) -> list[tuple[str, str]]:
        """The headers of a request from the board's own page."""
        headers = {"Cookie": self.cookie(), "Origin": f"http://{self.host}", "Sec-Fetch-Site": "same-origin"}
        return list((headers | more).items())

    def post(self, target: str, body: bytes, content_type: str = "application/json", **more: str) -> Answer:
        """A request of the board's own page with a body."""
        named = {"Content-Type": content_type, "Content-Length": str(len(body))}
        return self.send("POST", target, self.page(**named, **more), body)


@contextmanager
def running_board(
    stack: Any, *, read_only: bool = False, options: Options = OPTIONS, port: int = 0, token: str = TOKEN
) -> Iterator[Client]:
    """A board that serves until the block ends."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        port = listener.getsockname()[1]
        server = create_server(stack, options, port, token, read_only=read_only)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Client(port)
        finally:
            server.should_exit = True
            thread.join(10)
