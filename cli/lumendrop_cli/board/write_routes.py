"""The routes that change something. A read-only board does not import this module."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumendrop_cli.board import actions, uploads
from lumendrop_cli.board.server import Board, read_json

_FIGURES = ("queue", "event_source", "changes")


async def _uploads(board: Board, request: Request) -> Response:
    """Receives one photo and puts it into the input bucket."""
    size = int(request.headers["content-length"])
    wanted = uploads.photo(board.stack, request.query_params, size)
    with uploads.spool() as file:
        sha256 = await uploads.receive(request.stream(), size, file)
        stored = await run_in_threadpool(uploads.store, board.stack, wanted, file, sha256)
    board.feed.expire("changes", "queue")
    return JSONResponse(stored)


async def _plan(board: Board, request: Request) -> Response:
    """What photos will cost. The request has each photo's size and SHA-256 as a list of pairs in JSON."""
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
