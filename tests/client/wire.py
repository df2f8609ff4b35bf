"""Servers that misbehave in ways that no framework supports: a function handles each raw connection."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket], None]


class Listener:
    """A server on a free port of 127.0.0.1 that counts its connections."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.connections = 0
        self._behaviour = behaviour
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._behave, args=(connection,), daemon=True).start()

    def _behave(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._behaviour(connection)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            connection.close()


@contextmanager
def listening(behaviour: Behaviour) -> Iterator[Listener]:
    listener = Listener(behaviour)
    try:
        yield listener
    finally:
        listener.close()


def refused_port() -> int:
    """A port of 127.0.0.1 without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def read_request(connection: socket.socket) -> bytes:
    """A complete HTTP request, with a body according to Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(data: bytes) -> Behaviour:
    """Reads the request, sends `data` as it is, and closes."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data)
        connection.close()

    return behave


def hang(_: socket.socket) -> None:
    """Reads nothing and does not answer."""


def hang_after_request(connection: socket.socket) -> None:
    read_request(connection)


def close_at_once(connection: socket.socket) -> None:
    connection.close()


def reset_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_after_request(connection: socket.socket) -> None:
    read_request(connection)
    reset_at_once(connection)


def drip(head: bytes, piece: bytes, seconds: float = 0.1) -> Behaviour:
    """Answers with `head`, and then with one piece after another, each within the read timeout."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        pause = threading.Event()
        while not pause.wait(seconds):
            connection.sendall(piece)

    return behave
