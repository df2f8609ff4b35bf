"""The HTTP responses for faults."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from sandbox.enhancer.enhance import Enhanced
from sandbox.enhancer.errors import error_response
from sandbox.enhancer.faults import (
    DripFault,
    HangFault,
    HttpFault,
    RedirectFault,
    ResetFault,
    ResultFaults,
    SlowHeadersFault,
    StatusFaults,
)
from sandbox.enhancer.wire import MAX_HANG_SECONDS, RawResponse, ResetResponse, SlowHeadersResponse

CHUNK = 64 * 1024
ENDLESS_CHUNKS = 5 * 1024**3 // CHUNK
PROXY_PAGE = "<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
EXPIRED_PAGE = "<html><head><title>Expired</title></head><body><p>This link has expired.</p></body></html>"


def faulty_response(fault: StatusFaults, message: str = "Set by the fault plan") -> Response:
    """The response to a submit or a poll; `message` is for the error object."""
    if isinstance(fault, SlowHeadersFault):
        return SlowHeadersResponse(fault.seconds)
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


def faulty_result(fault: ResultFaults | HttpFault, enhanced: Enhanced) -> Response:
    """The response to a download."""
    if isinstance(fault, HttpFault | HangFault | ResetFault | SlowHeadersFault):
        return faulty_response(fault)
    if isinstance(fault, RedirectFault):
        return RedirectResponse(fault.to, 302)
    data = enhanced.path.read_bytes()
    if isinstance(fault, DripFault):
        chunks = _drip(data, fault.bytes_per_second)
        return StreamingResponse(chunks, headers=_headers(enhanced, len(data)))
    return _faulty_body(fault.kind, data, enhanced)


def _faulty_body(kind: str, data: bytes, enhanced: Enhanced) -> Response:
    match kind:
        case "missing":
            return error_response(404, "There is no such result")
        case "expired":
            return error_response(410, "This result link has expired")
        case "error":
            return error_response(500, "Set by the fault plan")
        case "truncated":
            return RawResponse(data[: len(data) // 2], enhanced.content_type, len(data))
        case "wrong_length":
            return RawResponse(data, enhanced.content_type, len(data) - 1000)
        case "gzip":
            compressed = gzip.compress(data, 1)
            return Response(compressed, headers=_headers(enhanced, len(compressed)) | {"Content-Encoding": "gzip"})
        case "html":
            return HTMLResponse(EXPIRED_PAGE)
        case _:
            return StreamingResponse(_endless(data), headers={"Content-Type": enhanced.content_type})


def _headers(enhanced: Enhanced, length: int) -> dict[str, str]:
    return {"Content-Type": enhanced.content_type, "Content-Length": str(length)}


async def _drip(data: bytes, bytes_per_second: int) -> AsyncIterator[bytes]:
    for second in range(int(MAX_HANG_SECONDS)):
        chunk = data[second * bytes_per_second : (second + 1) * bytes_per_second]
        if not chunk:
            return
        yield chunk
        await asyncio.sleep(1)
    raise ConnectionAbortedError("the drip has ended")


async def _endless(data: bytes) -> AsyncIterator[bytes]:
    yield data
    filler = os.urandom(CHUNK)
    for _ in range(ENDLESS_CHUNKS):
        yield filler
        await asyncio.sleep(0)
