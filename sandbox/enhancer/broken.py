"""Faults as answers on the wire."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from sandbox.enhancer.enhance import Enhanced
from sandbox.enhancer.errors import error_response
from sandbox.enhancer.faults import (
    BrokenResult,
    DripFault,
    HangFault,
    HttpFault,
    RedirectFault,
    ResetFault,
)
from sandbox.enhancer.wire import MAX_HANG_SECONDS, RawResponse, ResetResponse

CHUNK = 64 * 1024
ENDLESS_CHUNKS = 5 * 1024**3 // CHUNK
PROXY_PAGE = "<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
EXPIRED_PAGE = "<html><head><title>Expired</title></head><body><p>This link has expired.</p></body></html>"


def broken_call(fault: HttpFault | HangFault | ResetFault, message: str = "The fault plan says so") -> Response:
    """What a submit or a poll gets instead of its answer; `message` is an error object's."""
    if isinstance(fault, HangFault):
        return ResetResponse(fault.seconds)
    if isinstance(fault, ResetFault):
        return ResetResponse()
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.body == "none":
        return Response(status_code=fault.status, headers=headers)
    if fault.body == "html":
        return HTMLResponse(PROXY_PAGE, fault.status, headers)
    return error_response(fault.status, message, fault.code, headers)


def broken_result(
    fault: BrokenResult | RedirectFault | DripFault | HangFault | ResetFault, enhanced: Enhanced
) -> Response:
    """What a download gets instead of its result."""
    if isinstance(fault, HangFault | ResetFault):
        return broken_call(fault)
    if isinstance(fault, RedirectFault):
        return RedirectResponse(fault.to, 302)
    data = enhanced.path.read_bytes()
    if isinstance(fault, DripFault):
        drops = _drops(data, fault.bytes_per_second)
        return StreamingResponse(drops, headers=_headers(enhanced, len(data)))
    return _broken_body(fault.kind, data, enhanced)


def _broken_body(kind: str, data: bytes, enhanced: Enhanced) -> Response:
    match kind:
        case "missing":
            return error_response(404, "There is no such result")
        case "expired":
            return error_response(410, "This result link has expired")
        case "error":
            return error_response(500, "The fault plan says so")
        case "truncated":
            return RawResponse(data[: len(data) // 2], enhanced.content_type, len(data))
        case "wrong_length":
            return RawResponse(data, enhanced.content_type, len(data) - 1000)
        case "gzip":
            packed = gzip.compress(data, 1)
            return Response(packed, headers=_headers(enhanced, len(packed)) | {"Content-Encoding": "gzip"})
        case "html":
            return HTMLResponse(EXPIRED_PAGE)
        case _:
            return StreamingResponse(_endless(data), headers={"Content-Type": enhanced.content_type})


def _headers(enhanced: Enhanced, length: int) -> dict[str, str]:
    return {"Content-Type": enhanced.content_type, "Content-Length": str(length)}


async def _drops(data: bytes, a_second: int) -> AsyncIterator[bytes]:
    for second in range(int(MAX_HANG_SECONDS)):
        drop = data[second * a_second : (second + 1) * a_second]
        if not drop:
            return
        yield drop
        await asyncio.sleep(1)
    raise ConnectionAbortedError("the drip is over")


async def _endless(data: bytes) -> AsyncIterator[bytes]:
    yield data
    filler = os.urandom(CHUNK)
    for _ in range(ENDLESS_CHUNKS):
        yield filler
        await asyncio.sleep(0)
