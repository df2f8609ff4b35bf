"""Responses that frameworks don't support: resets, hangs, and bodies that contradict their headers."""

import asyncio
import socket
import struct
from asyncio import Transport
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HANG_SECONDS = 120.0
HEADER_SECONDS = 0.5


class WireProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, with each request's connection in its scope under `transport`."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own is
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope["transport"] = transport
            await app(scope, receive, send)

        self.app = with_transport


class ResetResponse(Response):
    """Ends the connection with a TCP reset after `seconds`, or as soon as the client disconnects."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self._seconds = min(seconds, MAX_HANG_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # Response's signature
        disconnected = asyncio.ensure_future(_disconnected(receive))
        await asyncio.wait({disconnected}, timeout=self._seconds)
        reset(scope["transport"])
        await disconnected


class RawResponse(Response):
    """Writes a 200 whose Content-Length can differ from its body, then closes the connection."""

    def __init__(self, body: bytes, content_type: str, length: int) -> None:
        super().__init__()
        self._bytes = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        ).encode() + body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # Response's signature
        transport = cast(Transport, scope["transport"])
        transport.write(self._bytes)
        transport.close()
        await _disconnected(receive)


class SlowHeadersResponse(Response):
    """Sends a header each half second, for `seconds` or until the client disconnects, then a TCP reset."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = min(seconds, MAX_HANG_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # Response's signature
        transport = cast(Transport, scope["transport"])
        disconnected = asyncio.ensure_future(_disconnected(receive))
        transport.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(max(1, int(self._seconds / HEADER_SECONDS))):
            transport.write(f"X-Slow-{number}: 1\r\n".encode())
            if (await asyncio.wait({disconnected}, timeout=HEADER_SECONDS))[0]:
                break
        reset(transport)
        await disconnected


def reset(transport: Transport) -> None:
    """Drop the connection with RST. Unsent data is discarded."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
