"""The gate in front of the enhancer."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from tests.chaos.gate import Gate, gate


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Sockets are off in tests that don't ask for them."""


def ask(gate: Gate) -> bytes:
    with socket.create_connection(("127.0.0.1", gate.port), timeout=5) as client:
        client.sendall(b"hello")
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


def test_an_open_gate_hands_everything_on(listener: socket.socket) -> None:
    serve(listener, echo)
    with gate() as opened:
        opened.target = listener.getsockname()[1]
        assert ask(opened) == b"hello"


def test_a_reset_is_handed_on_as_a_reset(listener: socket.socket) -> None:
    serve(listener, reset)
    with gate() as opened:
        opened.target = listener.getsockname()[1]
        with pytest.raises(ConnectionResetError):
            ask(opened)


def test_a_shut_gate_refuses_connections() -> None:
    with gate() as opened:
        pass
    with pytest.raises(ConnectionRefusedError):
        ask(opened)
