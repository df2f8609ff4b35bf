"""A TCP proxy in front of the enhancer that can refuse connections, as a host that is down does."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from random import Random
from threading import Event, Thread

OUTAGE_SECONDS = 0.7
_CHUNK = 65536


class Proxy:
    """Forwards connections to `target`, a port of this machine, except during outages.

    `outages` counts the outages so far.
    """

    def __init__(self) -> None:
        self.target = 0
        self.outages = 0
        self._closed = Event()
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections permanently."""
        self._closed.set()
        _stop_listening(self._listener)

    def start_outages(self, random: Random, longest_pause: float) -> None:
        """From now on, refuse connections for OUTAGE_SECONDS after each pause of up to `longest_pause` s."""
        Thread(target=self._run_outages, args=(random, longest_pause), daemon=True).start()

    def _run_outages(self, random: Random, longest_pause: float) -> None:
        while not self._closed.wait(random.uniform(0, longest_pause)):
            _stop_listening(self._listener)
            self.outages += 1
            self._closed.wait(OUTAGE_SECONDS)
            if not self._closed.is_set():
                self._listener = _listen(self.port)
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
            responses = Thread(target=_copy, args=(enhancer, client), daemon=True)
            responses.start()
            _copy(client, enhancer)
            responses.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copies bytes; passes on the end of the stream as such, and a reset as a reset."""
    with contextlib.suppress(OSError):
        try:
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except ConnectionResetError:
            # The thread that reads from `sink` closes it; the shutdown ends that thread.
            sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sink.shutdown(socket.SHUT_RD)


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


def _stop_listening(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # close() alone does not wake a thread that is blocked in accept().
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextlib.contextmanager
def proxy() -> Iterator[Proxy]:
    """A proxy until the block ends."""
    opened = Proxy()
    try:
        yield opened
    finally:
        opened.close()
