"""Keeps clients out of a cloud until everything in it runs."""

from collections.abc import Callable, Iterable
from threading import Event
from typing import Any

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]

# Shorter than the read timeout of AWS's clients, which is 60 seconds.
WAIT_SECONDS = 30.0


class Gate:
    """A WSGI application that lets requests wait until `open`, then hands them to `app`.

    A request that waits for `seconds`, or until `close`, gets a 503, which AWS's clients retry. Requests that are
    `exempt`, such as those that create the stack, never wait: a request of somebody else in between would see half a
    stack, and moto would create parts of it for that request.
    """

    def __init__(self, app: App, exempt: Callable[[Environ], bool], seconds: float = WAIT_SECONDS) -> None:
        self._app = app
        self._exempt = exempt
        self._seconds = seconds
        self._decided = Event()
        self._closed = False

    def open(self) -> None:
        """Hand every request to the application."""
        self._decided.set()

    def hold(self) -> None:
        """Let requests wait again until `open`."""
        self._decided.clear()

    def close(self) -> None:
        """Answer every request but the exempt ones with a 503."""
        self._closed = True
        self._decided.set()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if self._exempt(environ) or (self._decided.wait(self._seconds) and not self._closed):
            return self._app(environ, start_response)
        start_response("503 Service Unavailable", [("Content-Length", "0"), ("Retry-After", "1")])
        return []
