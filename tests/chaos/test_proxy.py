"""The proxy in front of the enhancer."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from tests.chaos.proxy import Proxy, proxy


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Enables sockets, which are disabled by default."""


def send_hello(proxy: Proxy, *, ends: bool = True) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(b"hello")
        if ends:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(100), b""))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    Thread(target=run, daemon=True).start()


def echo(connection: socket.socket) -> None:
    connection.sendall(b"".join(iter(lambda: connection.recv(100), b"")))


def reset(connection: socket.socket) -> None:
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_everything_is_forwarded(listener: socket.socket) -> None:
    serve(listener, echo)
    with proxy() as opened:
        opened.target = listener.getsockname()[1]
        assert send_hello(opened) == b"hello"


def test_a_reset_is_forwarded_as_a_reset(listener: socket.socket) -> None:
    serve(listener, reset)
    with proxy() as opened:
        opened.target = listener.getsockname()[1]
        with pytest.raises(ConnectionResetError):
            send_hello(opened, ends=False)  # a connection that was reset can't be shut down


def test_a_closed_proxy_refuses_connections() -> None:
    with proxy() as opened:
        pass
    with pytest.raises(ConnectionRefusedError):
        send_hello(opened)
