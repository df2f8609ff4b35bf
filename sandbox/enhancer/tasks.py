"""The task store: which tasks were created and charged, their progress, and their results."""

import asyncio
import logging
import math
import secrets
import string
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from sandbox.enhancer.download import DownloadError, fetch
from sandbox.enhancer.enhance import Enhanced, ImageError, enhance
from sandbox.enhancer.errors import ApiError
from sandbox.enhancer.faults import TaskFault

CONCURRENCY = 2
CREDITS_PER_IMAGE = 12
CREDITS_WITH_PROFILES = 15
TASK_ID_ALPHABET = string.ascii_lowercase + string.digits

log = logging.getLogger("uvicorn.error")

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """The request for a task; `image_url` is a secret."""

    model: str
    image_url: str = field(repr=False)
    resolution: str
    creativity: float | None
    resemblance: float | None
    profile_ids: list[str] | None

    @property
    def price(self) -> int:
        """In credits of 0.01 USD."""
        return CREDITS_WITH_PROFILES if self.profile_ids else CREDITS_PER_IMAGE

    @property
    def image(self) -> Json:
        """The photo's path and version from the URL, without the signature."""
        try:
            url = urlsplit(self.image_url)
        except ValueError:  # such as http://[; the task fails later
            return {"image": "", "version_id": ""}
        return {"image": url.path, "version_id": parse_qs(url.query).get("versionId", [""])[0]}

    def options(self) -> Json:
        """The options in the request."""
        names = ("resolution", "creativity", "resemblance", "profile_ids")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass
class Account:
    """The key and the balance, in credits."""

    api_key: str = field(repr=False)
    credits: int = 100_000
    used: int = 0
    key_valid: bool = True

    def reserve(self, amount: int) -> None:
        """Charge an amount. Raises ApiError 402 when the balance is lower."""
        if self.credits < amount:
            raise ApiError(402, f"This task costs {amount} credits and the balance is {self.credits}. Add credits.")
        self.credits -= amount
        self.used += amount


@dataclass
class Task:
    """One paid task. `last_poll` is the latest response of the status route; only `sync_upstream` refreshes it."""

    id: str
    created: int
    order: Order
    fault: TaskFault
    estimated_time: int
    started: float = field(default_factory=time.monotonic)
    status: Status = "pending"
    progress: int = 0
    enhanced: Enhanced | None = None
    name: str | None = None
    ended: float | None = None
    error: Json | None = None
    polls: int = 0
    downloads: int = 0
    races_left: int = 0
    last_poll: Json = field(default_factory=dict)


class TaskStore:
    """All tasks of this process, and the workers that run them.

    `task_seconds` is the minimum duration of a task, `result_seconds` the lifetime of a result link.
    """

    def __init__(self, results: Path, base_url: str, task_seconds: float, result_seconds: float) -> None:
        self.tasks: dict[str, Task] = {}
        self._results = results
        self._base_url = base_url
        self._task_seconds = task_seconds
        self._result_seconds = result_seconds
        self._workers = ThreadPoolExecutor(CONCURRENCY, "enhance")
        self._free = asyncio.Semaphore(CONCURRENCY)
        self._recent: deque[float] = deque(maxlen=10)
        self._by_name: dict[str, Task] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def create(self, order: Order, fault: TaskFault) -> Task:
        """Create a task and start it. Returns immediately, unless the fault ends the task at submit."""
        task = Task(
            f"task-unified-{int(time.time())}-{_random(8)}",
            int(time.time()),
            order,
            fault,
            self._estimate(fault),
            races_left=fault.race_polls,
        )
        self.tasks[task.id] = task
        running = asyncio.create_task(self._run(task))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        if fault.at_submit:
            await running
        task.last_poll = self._body(task)
        return task

    def poll(self, task: Task, sync_upstream: bool) -> Json:
        """The contract's task object. Without `sync_upstream`, the one of the last poll."""
        task.polls += 1
        if sync_upstream:
            task.last_poll = self._body(task)
            task.races_left -= task.status == "completed" and task.races_left > 0
        return task.last_poll

    def result(self, name: str) -> tuple[Task, Enhanced]:
        """The completed task behind a result name. Raises ApiError 404 (unknown) or 410 (expired)."""
        task = self._by_name.get(name)
        if task is None or task.enhanced is None or task.ended is None:
            raise ApiError(404, "There is no such result")
        if time.monotonic() - task.ended > self._result_seconds:
            task.enhanced.path.unlink(missing_ok=True)
            raise ApiError(410, "This result link has expired")
        return task, task.enhanced

    @property
    def unfinished(self) -> int:
        """The number of unfinished tasks, without those that never end."""
        return sum(1 for task in self.tasks.values() if task.ended is None and task.fault.end != "never")

    def close(self) -> None:
        """Cancel all running tasks."""
        for running in self._running:
            running.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _estimate(self, fault: TaskFault) -> int:
        work = sum(self._recent) / len(self._recent) if self._recent else 1.0
        return max(1, math.ceil(max(self._min_seconds(fault), work * (1 + self.unfinished / CONCURRENCY))))

    async def _run(self, task: Task) -> None:
        if task.fault.end == "never":
            task.status = "processing"
            return
        async with self._free:
            task.status = "processing"
            if task.fault.end == "completed":
                await self._enhance(task)
        if not task.fault.at_submit:
            await asyncio.sleep(task.started + self._min_seconds(task.fault) - time.monotonic())
        self._end(task)

    async def _enhance(self, task: Task) -> None:
        begun = time.monotonic()
        path = self._results / task.id
        loop = asyncio.get_running_loop()
        try:
            task.enhanced = await loop.run_in_executor(self._workers, _work, task.order, path)
            self._recent.append(time.monotonic() - begun)
        except DownloadError as error:
            task.error = _failure("invalid_image_url", str(error))
        except ImageError as error:
            task.error = _failure("image_processing_error", str(error))
        except Exception:
            log.exception("Enhancing for %s failed", task.id)
            task.error = _failure("unknown_error", "the enhancer has an internal error; see its log")

    def _end(self, task: Task) -> None:
        task.ended = time.monotonic()
        if task.fault.end == "cancelled":
            task.status = "cancelled"
        elif task.enhanced is None:
            task.status = "failed"
            quoted = f": cannot use {task.order.image_url}" if task.fault.quotes else ""
            task.error = task.error or _failure(task.fault.code, f"set by the fault plan{quoted}")
        else:
            task.status, task.progress = "completed", 100
            task.name = _random(32) + (".png" if task.enhanced.content_type == "image/png" else ".jpg")
            self._by_name[task.name] = task

    def _min_seconds(self, fault: TaskFault) -> float:
        return self._task_seconds if fault.seconds is None else fault.seconds

    def _body(self, task: Task) -> Json:
        if task.ended is None and task.status == "processing":
            share = (time.monotonic() - task.started) / task.estimated_time
            task.progress = max(task.progress, min(95, int(100 * share)))
        body: Json = {
            "created": task.created,
            "id": task.id,
            "model": task.order.model,
            "object": "image.generation.task",
            "progress": task.progress,
            "status": task.status,
            "task_info": {"can_cancel": task.ended is None, "estimated_time": task.estimated_time},
            "type": "image",
            "usage": {"credits_reserved": task.order.price},
        }
        if task.error is not None:
            body["error"] = task.error
        if task.status == "completed":
            racing = task.races_left > 0
            body |= {"progress": task.fault.race_progress, "results": None} if racing else self._outcome(task)
        return body

    def _outcome(self, task: Task) -> Json:
        if task.enhanced is None:
            raise RuntimeError("a completed task has no result")
        url = f"{self._base_url}/results/{task.name}"
        if task.fault.shape == "strings":
            return {"results": [url]}
        if task.fault.shape == "output":
            size = {"width": task.enhanced.width, "height": task.enhanced.height}
            return {"output": {"url": url, "urls": [url], **size}}
        return {"results": [{"url": url, "content_type": task.enhanced.content_type}]}


def charged(task: Task) -> Json:
    """A task as tests see it, with its photo and its price."""
    return {
        "id": task.id,
        "created": task.created,
        **task.order.image,
        "options": task.order.options(),
        "status": task.status,
        "error": task.error,
        "credits": task.order.price,
        "polls": task.polls,
        "downloads": task.downloads,
    }


def _work(order: Order, to: Path) -> Enhanced:
    return enhance(fetch(order.image_url), to, order.resolution, order.creativity, order.resemblance)


def _failure(code: str, message: str) -> Json:
    return {"code": code, "message": message, "type": "task_error"}


def _random(length: int) -> str:
    return "".join(secrets.choice(TASK_ID_ALPHABET) for _ in range(length))
