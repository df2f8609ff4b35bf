"""The routes that change something. A read-only board does not import this module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack
from threading import Event
from typing import IO, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lumendrop_cli.board import actions, uploads
from lumendrop_cli.board.server import Board, json_line, read_json
from lumendrop_cli.errors import describe
from lumendrop_cli.text import clean
from lumendrop_cli.transfers import Body

_PROGRESS_SECONDS = 0.2
_FIGURES = ("queue", "event_source", "changes")


async def _uploads(board: Board, request: Request) -> Response:
    """Receives one photo and puts it into the input bucket. Answers with lines of JSON: the progress, then the end."""
    size = int(request.headers["content-length"])
    wanted = uploads.photo(board.stack, request.query_params, size)
    with ExitStack() as closing:
        file = closing.enter_context(uploads.spool())
        sha256 = await uploads.receive(request.stream(), size, file)
        closing.pop_all()  # from here on, the answer closes it
    return StreamingResponse(_store(board, wanted, file, sha256), media_type="application/x-ndjson")


async def _store(board: Board, wanted: uploads.Photo, file: IO[bytes], sha256: str) -> AsyncIterator[str]:
    """Stores the photo whole, even if the page is gone, and tells how much S3 has."""
    sent = 0

    def progress(size: int) -> None:
        nonlocal sent
        sent = size

    def end(task: asyncio.Task[dict[str, Any]]) -> None:
        task.exception()  # nobody else may ask for it
        file.close()
        board.feed.expire("changes", "queue")

    body = Body(file, progress, Event())
    stored = asyncio.create_task(run_in_threadpool(uploads.store, board.stack, wanted, body, sha256))
    stored.add_done_callback(end)
    while not (await asyncio.wait({stored}, timeout=_PROGRESS_SECONDS))[0]:
        yield json_line({"sent": sent})
    try:
        yield json_line(stored.result())
    except Exception as error:  # noqa: BLE001  # a page gets no traceback
        yield json_line({"error": clean(str(describe(error)))})


async def _plan(board: Board, request: Request) -> Response:
    """What photos will cost. The request lists each photo's size, SHA-256, and name in JSON."""
    given = await read_json(request)
    return JSONResponse(await run_in_threadpool(uploads.plan, board.stack, given))


async def _actions(board: Board, request: Request) -> Response:
    """Runs an action, or returns the question that has to be confirmed first."""
    given = await read_json(request)
    name, confirmed = given.get("action", ""), given.get("confirmed")
    try:
        lines = await run_in_threadpool(actions.run, board.stack, board.options, name, given, confirmed)
    except actions.NotConfirmed as asked:
        return JSONResponse({"question": asked.text})
    finally:
        board.feed.expire(*_FIGURES)
    return JSONResponse({"lines": lines})


ROUTES: Mapping[str, Callable[[Board, Request], Awaitable[Response]]] = {
    "/api/uploads": _uploads,
    "/api/plan": _plan,
    "/api/actions": _actions,
}
