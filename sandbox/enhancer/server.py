"""The routes: the vendor's contract, the results, and the controls for tests."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from sandbox.enhancer.errors import ApiError, error_response
from sandbox.enhancer.faults import FaultPlan, Faults, SubmitHttpFault
from sandbox.enhancer.faulty_responses import faulty_response, faulty_result
from sandbox.enhancer.schemas import (
    AccountChange,
    Credits,
    CreditsBody,
    ErrorBody,
    Model,
    ModelsBody,
    SubmitBody,
    TaskBody,
)
from sandbox.enhancer.tasks import Account, Json, Order, TaskStore, charged

MODEL = Model(id="phota-image-enhance", created=1757116800, owned_by="phota")
MEANINGS = {
    400: "Malformed request. No task was created.",
    401: "The key is missing, wrong or expired.",
    402: "The balance is too low. No task was created.",
    404: "Not found.",
    410: "The link has expired.",
    422: "A bad value, an unknown model, or no channel for the model now (see `code`). No task was created.",
    429: "Too many requests. Wait for the seconds in `Retry-After`.",
    500: "Unknown. A submit may have created a task.",
    503: "No channel, or an upstream error. Without an error object, a submit may have created a task.",
}


@dataclass
class Sandbox:
    """The state that the routes share; `submits` are the calls of that route so far."""

    account: Account
    store: TaskStore
    faults: Faults
    submits: list[Json] = field(default_factory=list)


def create_app(sandbox: Sandbox) -> FastAPI:
    """The application, with its state in `app.state.sandbox`."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        sandbox.store.close()

    app = FastAPI(
        title="Lumendrop's sandbox enhancer",
        version="1.0.0",
        description="Implements the contract of the photo enhancer and enhances photos.",
        lifespan=lifespan,
        exception_handlers={
            ApiError: _on_api_error,
            HTTPException: _on_http_exception,
            RequestValidationError: _on_invalid_request,
        },
    )
    app.state.sandbox = sandbox
    app.include_router(contract)
    app.include_router(results)
    app.include_router(controls)
    return app


def _shared(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def _check_key(request: Request) -> None:
    account = _shared(request).account
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    right = secrets.compare_digest(key.strip().encode(), account.api_key.encode())
    if scheme.lower() != "bearer" or not right or not account.key_valid:
        raise ApiError(401, "The API key is missing, wrong or expired: send Authorization: Bearer <key>")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    described: dict[int | str, dict[str, Any]] = {
        status: {"description": MEANINGS[status], "model": ErrorBody} for status in statuses
    }
    if 429 in described:
        described[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return described


Shared = Annotated[Sandbox, Depends(_shared)]
contract = APIRouter(
    prefix="/v1",
    tags=["contract"],
    dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(_check_key)],
    responses=_errors(401),
)
results = APIRouter(tags=["results"])
controls = APIRouter(prefix="/_sandbox", include_in_schema=False)


@contract.post("/images/generations", response_model=TaskBody, responses=_errors(400, 402, 422, 429, 500, 503))
async def submit(body: SubmitBody, shared: Shared, request: Request) -> Response:
    """Create a task. Its price is charged immediately and never refunded."""
    order = Order(**body.model_dump())
    fault = shared.faults.submit()
    call = order.image | {"at": time.time(), "fault": fault and fault.model_dump(), "task_id": None}
    shared.submits.append(call)
    if fault is None or fault.created:
        shared.account.reserve(order.price)
        task = await shared.store.create(order, shared.faults.task())
        call["task_id"] = task.id
    if fault is None:
        return JSONResponse(task.last_poll)
    if isinstance(fault, SubmitHttpFault) and fault.quotes:
        return faulty_response(fault, f"Cannot use {order.image_url} with {request.headers['authorization']}")
    return faulty_response(fault)


@contract.get("/tasks/{task_id}", response_model=TaskBody, responses=_errors(404, 422, 429, 500, 503))
async def status(task_id: str, shared: Shared, sync_upstream: bool = False) -> Response:
    """Get a task. Without `sync_upstream=true`, the response for a task in progress does not change."""
    task = shared.store.tasks.get(task_id)
    if task is None:
        raise ApiError(404, "There is no such task")
    fault = shared.faults.status()
    return faulty_response(fault) if fault else JSONResponse(shared.store.poll(task, sync_upstream))


@contract.get("/account/credits", response_model=CreditsBody)
async def account_credits(shared: Shared) -> Any:
    """Get the balance."""
    if fault := shared.faults.outage("credits"):
        return faulty_response(fault)
    account = shared.account
    return CreditsBody(data=Credits(remaining_credits=account.credits, used_credits=account.used))


@contract.get("/models", response_model=ModelsBody)
async def models(shared: Shared) -> Any:
    """List the models that are available to this key."""
    if fault := shared.faults.outage("models"):
        return faulty_response(fault)
    return ModelsBody(data=[MODEL])


@results.get(
    "/results/{name}",
    response_class=Response,
    responses=_errors(404, 410, 500)
    | {200: {"description": "The image.", "content": {"image/jpeg": {}, "image/png": {}}}},
)
async def result(name: str, shared: Shared) -> Response:
    """Download a result. This needs no key, because the name is a secret."""
    task, enhanced = shared.store.result(name)
    task.downloads += 1
    fault = shared.faults.result()
    if fault is not None:
        return faulty_result(fault, enhanced)
    return FileResponse(enhanced.path, media_type=enhanced.content_type)


@controls.get("/faults")
async def faults(shared: Shared) -> Json:
    """The plan, and for each route the number of calls since it was set and the number of faults."""
    current = shared.faults
    return {"plan": current.plan.model_dump(mode="json"), "calls": current.calls, "hits": current.hits}


@controls.put("/faults")
async def set_faults(plan: FaultPlan, shared: Shared) -> Json:
    """Replace the plan and start it from the beginning; see `sandbox.enhancer.faults` for plans."""
    shared.faults = Faults(plan)
    return await faults(shared)


@controls.get("/tasks")
async def tasks(shared: Shared) -> list[Json]:
    """Every task that was created and charged, oldest first."""
    return [charged(task) for task in shared.store.tasks.values()]


@controls.get("/submits")
async def submits(shared: Shared) -> list[Json]:
    """Every valid call of the submit route, oldest first, with time, photo, fault, and task."""
    return shared.submits


@controls.get("/unfinished")
async def unfinished(shared: Shared) -> int:
    """The number of unfinished tasks, without those that never end."""
    return shared.store.unfinished


@controls.get("/account")
async def account(shared: Shared) -> Json:
    """The balance, the credits used, and whether the key is valid. Never the key."""
    current = shared.account
    return {"credits": current.credits, "used": current.used, "key_valid": current.key_valid}


@controls.put("/account")
async def set_account(change: AccountChange, shared: Shared) -> Json:
    """Change the balance, the key, or whether the key is valid."""
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(shared.account, name, value)
    return await account(shared)


async def _on_api_error(_request: Request, error: ApiError) -> Response:
    return error_response(error.status, error.message, error.code)


async def _on_http_exception(_request: Request, error: HTTPException) -> Response:
    return error_response(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def _on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    """400 for a malformed request, 422 for a bad value. The message has no values, because a URL is a secret."""
    if request.url.path.startswith("/v1/"):
        # FastAPI parses the body before it runs dependencies, but a wrong key takes precedence.
        try:
            _check_key(request)
        except ApiError as wrong_key:
            return error_response(wrong_key.status, wrong_key.message)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "json_invalid" or len(first["loc"]) == 1:
        return error_response(400, f"Malformed request: {first['msg']}")
    if first["type"] == "missing":
        return error_response(400, f"Malformed request: {place} is missing")
    message = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    codes = {"model": "model_not_found", "image_url": "invalid_image_url"}
    return error_response(422, message, codes.get(place))
