"""The board's side of an HTTP connection."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0


class Connection(H11Protocol):
    """Closes itself if its client sends no whole request head in time. uvicorn waits for one for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._watch()

    def _watch(self) -> None:
        self.loop.call_later(REQUEST_SECONDS, self._check, self.cycle)

    def _check(self, before: Any) -> None:
        if self.transport.is_closing():
            return
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self.cycle is before:
            self.transport.close()
        else:
            self._watch()
