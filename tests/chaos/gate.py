"""A port in front of the enhancer that can be shut: then connections are refused, as when a host is down."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from random import Random
from threading import Event, Thread

SHUT_SECONDS = 0.7
_CHUNK = 65536


class Gate:
    """Forwards connections to `target`, a port of this machine, while it is open.

    `outages` counts how often it was not.
    """

    def __init__(self) -> None:
        self.target = 0
        self.outages = 0
        self._closed = Event()
        self._listener = _listening(0)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse for good."""
        self._closed.set()
        _shut(self._listener)

    def go_down_at_times(self, random: Random, longest_pause: float) -> None:
        """From now on, refuse connections for a moment, then not for up to so many seconds, and so on."""
        Thread(target=self._go_down, args=(random, longest_pause), daemon=True).start()

    def _go_down(self, random: Random, longest_pause: float) -> None:
        while not self._closed.wait(random.uniform(0, longest_pause)):
            _shut(self._listener)
            self.outages += 1
            self._closed.wait(SHUT_SECONDS)
            if not self._closed.is_set():
                self._listener = _listening(self.port)
                Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            Thread(target=self._forward, args=(connection,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as enhancer:
            answers = Thread(target=_pump, args=(enhancer, client), daemon=True)
            answers.start()
            _pump(client, enhancer)
            answers.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Hands bytes on; an end is handed on as an end, a reset as a reset."""
    with contextlib.suppress(OSError):
        try:
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except ConnectionResetError:
            # Closed by whoever reads from it, which ends now.
            sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sink.shutdown(socket.SHUT_RD)


def _listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


def _shut(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Closing alone would leave a thread in accept() or recv().
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextlib.contextmanager
def gate() -> Iterator[Gate]:
    """A gate until the block ends."""
    opened = Gate()
    try:
        yield opened
    finally:
        opened.close()
