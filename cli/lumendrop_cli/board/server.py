"""The board's server: its pages, and the routes that they use. Without the write routes if it is read-only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lumendrop_cli import cost, ledger, ledger_index, statuses
from lumendrop_cli.board import execution
from lumendrop_cli.board.access import restrict
from lumendrop_cli.board.card import card
from lumendrop_cli.board.connections import Connection
from lumendrop_cli.board.live import IN_SANDBOX, ON_AWS, Budget, Feed, Reader
from lumendrop_cli.board.security import MAX_JSON_BYTES, Gate
from lumendrop_cli.errors import CliError, describe, error_code
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.stack import Options, Stack
from lumendrop_cli.text import clean

STATIC = Path(__file__).parent / "static"

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Browsers ask for an icon of this name on their own.
_NAMES = {"index.html": ("/",), "logo.svg": ("/logo.svg", "/favicon.ico")}
_HEAD_BYTES = 16
_CHUNK_BYTES = 262_144
_SEARCH_PAGE, _MAX_FOUND = 1000, 10_000
_MAX_DAYS = 3660
# The formats that a page may show, by their first bytes. Everything else is only downloaded.
_IMAGES = ((0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG\r\n\x1a\n", "image/png"), (8, b"WEBP", "image/webp"))
_GONE = frozenset({"404", "405", "NoSuchKey", "NoSuchVersion", "InvalidArgument"})

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Board:
    """What all routes share."""

    stack: Stack
    options: Options
    feed: Feed
    budget: Budget
    read_only: bool

    @cached_property
    def earliest(self) -> datetime:
        """No row of the ledger is older: days before need no read."""
        return ledger_index.created(self.stack)


def create_server(stack: Stack, options: Options, port: int, token: str, *, read_only: bool) -> uvicorn.Server:
    """The server of a board, for a socket that listens on `port` of the loopback interface."""

    def is_stopping() -> bool:
        return server.should_exit

    settings = uvicorn.Config(
        create_app(stack, options, port, token, read_only=read_only, is_stopping=is_stopping),
        http=Connection,
        access_log=False,  # it would contain the token
        log_level="critical",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=65_536,
    )
    server = uvicorn.Server(settings)
    return server


def create_app(
    stack: Stack,
    options: Options,
    port: int,
    token: str,
    *,
    read_only: bool,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Gate:
    """The board as an ASGI application."""
    restrict(stack, read_only=read_only)
    stack.physical_ids()  # lists the nested stack once, before a page is open
    pace = IN_SANDBOX if stack.is_sandbox else ON_AWS
    budget = Budget(pace.gap)
    board = Board(stack, options, Feed(Reader(stack, pace), budget, is_stopping), budget, read_only)
    routes = [*_static_routes(), *_routes(board, _READS, "GET")]
    if not read_only:
        from lumendrop_cli.board import write_routes  # a read-only board does not even load the code that writes

        routes += _routes(board, write_routes.ROUTES, "POST")
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False  # a path has one spelling
    return Gate(app, port, token)


def _static_routes() -> Iterator[Route]:
    """The files of the page, read once: a request can't name any other file."""
    for path in sorted(STATIC.iterdir()):
        if path.suffix in _TYPES:
            send = _file(path.read_bytes(), _TYPES[path.suffix])
            for name in _NAMES.get(path.name, (f"/{path.name}",)):
                yield Route(name, send, methods=["GET"])


def _file(body: bytes, kind: str) -> Handler:
    async def send(_: Request) -> Response:
        return Response(body, media_type=kind)

    return send


def _routes(
    board: Board, routes: Mapping[str, Callable[[Board, Request], Awaitable[Response]]], method: str
) -> list[Route]:
    return [Route(path, _answer(board, handler), methods=[method]) for path, handler in routes.items()]


def _answer(board: Board, handler: Callable[[Board, Request], Awaitable[Response]]) -> Handler:
    """Turns errors of the CLI and of AWS into answers that the page shows."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(board, request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001  # a page gets no traceback
            return problem(str(describe(error)))

    return answer


def problem(text: str, status: int = 400) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": clean(text)}, status)


async def _config(board: Board, _: Request) -> Response:
    return JSONResponse(config(board.stack, read_only=board.read_only))


def config(stack: Stack, *, read_only: bool) -> dict[str, Any]:
    """What the page knows about the stack from the start."""
    names = ("Resolution", "Creativity", "Resemblance", "Metadata", "InputPrefix", "MaxUploadBytes", "SamePhoto")
    return {
        "stack": clean(stack.name),
        "region": stack.client("dynamodb").meta.region_name,
        "sandbox": stack.is_sandbox,
        "read_only": read_only,
        "price_usd": cost.price_usd(stack),
        "parameters": {name: stack.parameters.get(name, "") for name in names},
    }


async def _events(board: Board, _: Request) -> Response:
    if board.feed.is_full:
        return problem("Too many pages of this board are open. Close some of them.", 503)
    return StreamingResponse(board.feed.events(), media_type="text/event-stream")


async def _search(board: Board, request: Request) -> Response:
    """Uploads that match, the last change first: of one day, of the last `days`, or all.

    The answer is lines of JSON: pages of cards as they are read, then whether there are more, or an error.
    """
    query = request.query_params
    wanted = tuple(one for one in query.getlist("status") if one in statuses.DESCRIPTIONS)
    day = _day(query.get("day", ""))
    days = _number(query.get("days"), _MAX_DAYS, _MAX_DAYS)
    earliest = day or datetime.now(UTC) - timedelta(days=days)
    since = max(earliest, await run_in_threadpool(lambda: board.earliest))
    last_day = day.date() if day else None
    selected = Filter(wanted, since, query.get("folder", ""), query.get("text", ""), last_day)
    found = _found(board.stack, selected, _number(query.get("limit"), _SEARCH_PAGE, _MAX_FOUND))
    return StreamingResponse(found, media_type="application/x-ndjson")


def _found(stack: Stack, selected: Filter, limit: int) -> Iterator[str]:
    left = limit
    try:
        for page in ledger_index.pages(stack, selected, _SEARCH_PAGE):
            if cards := [card(row) for row in page[:left]]:
                yield json_line({"cards": cards})
            left -= len(page)
            if left <= 0:
                break
        yield json_line({"more": left <= 0})
    except Exception as error:  # noqa: BLE001  # a page gets no traceback
        yield json_line({"error": clean(str(describe(error)))})


def json_line(data: dict[str, Any]) -> str:
    """One of several documents of an answer."""
    return f"{json.dumps(data, separators=(',', ':'), default=str)}\n"


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CliError("The day must be a date such as 2026-11-27.") from None


def _number(text: str | None, default: int, most: int) -> int:
    return min(int(text), most) if text and text.isascii() and text.isdecimal() and 0 < len(text) < 8 else default


async def _upload(board: Board, request: Request) -> Response:
    row = await _row(board, request)
    return JSONResponse(await run_in_threadpool(details, board.stack, row))


def details(stack: Stack, row: Row) -> dict[str, Any]:
    """One upload in full: its card, the metadata of the photo and of the result, and what the result has kept."""
    before, after = _head(stack, row, "before"), _head(stack, row, "after")
    kept = (after or {}).get("metadata", {}).get("carried-over", "")
    return {"card": card(row), "before": before, "after": after, "kept": kept.replace(",", ", ")}


async def _execution(board: Board, request: Request) -> Response:
    row = await _row(board, request)
    return JSONResponse(await run_in_threadpool(execution.path, board.stack, row))


async def _media(board: Board, request: Request) -> Response:
    """The bytes of an upload's photo or of its result, as an image of a known format or as a download."""
    side, is_download = request.query_params.get("side", ""), "download" in request.query_params
    is_thumbnail = "thumbnail" in request.query_params
    if side not in ("before", "after"):
        raise CliError("The request names no photo.")
    row = await _row(board, request, is_background=is_thumbnail)
    if is_thumbnail:
        await board.budget.turn()
    place = _place(board.stack, row, side)
    if place is None:
        return _gone(is_thumbnail)
    try:
        found = await run_in_threadpool(lambda: board.stack.client("s3").get_object(**place))
    except ClientError as error:
        if error_code(error) in _GONE:
            return _gone(is_thumbnail)
        raise
    body = found["Body"]
    head = await run_in_threadpool(body.read, _HEAD_BYTES)
    kind = next((kind for at, magic, kind in _IMAGES if head[at : at + len(magic)] == magic), None)
    headers = {"Content-Length": str(found["ContentLength"])}
    if kind is None or is_download:
        name = quote(str(place["Key"]).rpartition("/")[2], safe="")
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return StreamingResponse(_bytes(head, body), media_type=kind or "application/octet-stream", headers=headers)


def _gone(is_thumbnail: bool) -> Response:
    """A card without a photo is nothing unusual; a browser would log any other status as an error."""
    return Response(status_code=204) if is_thumbnail else problem("There is no such photo, or it was deleted.", 404)


def _bytes(head: bytes, body: Any) -> Iterator[bytes]:
    with closing(body):
        yield head
        yield from body.iter_chunks(_CHUNK_BYTES)


async def _row(board: Board, request: Request, *, is_background: bool = False) -> Row:
    """The ledger's row that the query names. A request can only name uploads, never a bucket.

    In the background, the row of a card that is shown needs no read.
    """
    key, version = (request.query_params.get(name, "") for name in ("key", "version"))
    if not 0 < len(key.encode("utf-8", "replace")) <= 1024 or not 0 < len(version) <= 1024:
        raise CliError("The request names no upload.")
    row = board.feed.row(key, version) if is_background else None
    if row is None:
        if is_background:
            await board.budget.turn()
        row = await run_in_threadpool(ledger.row_of, board.stack, key, version)
    if row is None:
        raise CliError("The ledger has no such upload.")
    return row


def _place(stack: Stack, row: Row, side: str) -> dict[str, str] | None:
    """Where a photo or its result is, in the stack's own buckets."""
    if side == "before":
        version = row["version_id"]
        place = {"Bucket": row["bucket"], "Key": row["key"]}
    else:
        output = row.get("output") or {}
        if output.get("bucket") != stack.output("OutputBucketName"):
            return None
        version = output.get("version_id")
        place = {"Bucket": output["bucket"], "Key": output["key"]}
    return place | ({"VersionId": version} if version and version != "null" else {})


def _head(stack: Stack, row: Row, side: str) -> dict[str, Any] | None:
    """The size, type, and metadata of an object; None if it doesn't exist."""
    place = _place(stack, row, side)
    if place is None:
        return None
    try:
        found = stack.client("s3").head_object(**place)
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise
    metadata = {clean(name): clean(value) for name, value in sorted(found["Metadata"].items())}
    return {"bytes": found["ContentLength"], "type": clean(found.get("ContentType", "")), "metadata": metadata}


async def read_json(request: Request) -> dict[str, str]:
    """The body as an object of texts. Raises CliError for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise CliError("The request is too large.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise CliError("The request is not an object of texts.")
    return found


_READS: Mapping[str, Callable[[Board, Request], Awaitable[Response]]] = {
    "/api/config": _config,
    "/api/events": _events,
    "/api/search": _search,
    "/api/upload": _upload,
    "/api/execution": _execution,
    "/media": _media,
}
