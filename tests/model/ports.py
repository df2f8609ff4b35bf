"""The handler of `submit` over recorded answers: it runs from the start again for each further step.

A function in flight is the tuple of the answers that its calls got so far. `Replay` gives them to the real handler in
order; the first call without an answer ends the run with `Pending`. What follows depends only on the message and the
answers, so each run is made once and remembered.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from lumendrop import clients, images, storage
from lumendrop.enhancer import Ambiguous, Refused, SubmittedTask, Unavailable
from lumendrop.ledger import Ledger, Row
from lumendrop.outcomes import Rejected
from lumendrop.storage import Source
from lumendrop.upload_queue import Deferred, Message
from lumendrop.uploads import Upload
from lumendrop.workflow import execution_input, execution_name
from tests.model.table import TransactionCanceledException

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_000_000.0
SECONDS = 60
ENVIRONMENT = {
    "API_BASE_URL": "https://enhancer.test",
    "KEY_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key",
    "RESOLUTION": "4K",
    "CREATIVITY": "",
    "RESEMBLANCE": "",
    "PROFILE_IDS": "",
    "METADATA": "keep",
    "LARGER_THAN_RESULT": "enhance",
    "MAX_UPLOAD_BYTES": "1000000",
    "MAX_CONCURRENT_SUBMITS": "5",
    "DAILY_TASK_LIMIT": "1000000",
    "MAX_WAIT_MINUTES": "60",
    "LEDGER_TABLE": "ledger",
    "UPLOAD_QUEUE_URL": "https://sqs.test/uploads",
    "WORKFLOW_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:workflow",
    "BUCKET_OWNER": "123456789012",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Answer:
    """What a call returned or raised. Two answers with the same name are the same."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any = None) -> None:
        self.name = name
        self.value = value


class Pending(BaseException):
    """The next call of a function: its port, and the arguments."""

    def __init__(self, port: str, arguments: Mapping[str, Any]) -> None:
        super().__init__(port)
        self.port = port
        self.arguments = arguments


class Replay:
    """Answers the calls of one run."""

    def __init__(self) -> None:
        self.answers: Iterator[Answer] = iter(())

    def call(self, port: str, **arguments: Any) -> Any:
        answer = next(self.answers, None)
        if answer is None:
            raise Pending(port, arguments)
        if isinstance(answer.value, Exception):
            raise answer.value
        return answer.value


class Submit:
    """The real functions/submit/app.py, task_creation.py, and same_photo.py, with their ports replaced."""

    def __init__(self, ambiguous_submit: str = "park", same_photo: str = "pay") -> None:
        self.replay = Replay()
        call = self.replay.call
        module: Any = _load("functions/submit/app.py", AMBIGUOUS_SUBMIT=ambiguous_submit, SAME_PHOTO=same_photo)
        creation: Any = _load("layers/lumendrop/task_creation.py")
        reuse: Any = _load("layers/lumendrop/same_photo.py")
        table = SimpleNamespace(
            exceptions=SimpleNamespace(TransactionCanceledException=TransactionCanceledException),
            **{name: partial(call, name) for name in ("get_item", "put_item", "transact_write_items")},
        )
        module.LEDGER = Ledger(table, "ledger", 1_000_000, lambda: NOW, lambda _: None)  # type: ignore[arg-type]  # as many calls as are needed
        module.SQS = SimpleNamespace(send_message=partial(call, "send"))
        module.TASKS = creation.TaskCreator(
            module.LEDGER,
            SimpleNamespace(prepare=partial(call, "key"), submit_supported=self._post),
            _Unlimited(),
            lambda _: "https://photo.test/",
            policy=ambiguous_submit,
            most_wait_seconds=3600,
            now=lambda: NOW,
        )
        module.time = SimpleNamespace(time=lambda: NOW, sleep=lambda _: None)
        module.storage = SimpleNamespace(inspect=self._inspect, OwnResult=storage.OwnResult)
        module.workflow = SimpleNamespace(start=self._start)
        module.same_photo = reuse
        reuse.storage = SimpleNamespace(
            identify=lambda *_: "the same bytes",
            find_reusable=lambda _, output, payer: call("find", output=output, payer=payer),
            reuse=lambda _, upload, photo, same_as, *__: call("copy", upload=upload, photo=photo, same_as=same_as),
            find_delivered=lambda *_: call("look"),
            LostRace=storage.LostRace,
        )
        reuse.reports = SimpleNamespace(remove=lambda *_: call("unreport"))
        for one in (module, creation, reuse):
            one.count = _nothing
            one.logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "exception", "append_keys"), _nothing))
        module.log_context = _no_context
        module.follow = _nothing
        self.module = module

    def _post(self, _: str, options: Any) -> Any:
        return SubmittedTask(self.replay.call("post")), options

    def _inspect(self, _: Any, upload: Upload, __: int) -> Source:
        self.replay.call("inspect")
        return Source(upload, images.JPEG, {})

    def _start(self, _: Any, __: str, row: Row, now: float) -> None:
        self.replay.call("start", name=execution_name(row, now), given=execution_input(row))

    def run(self, message: Message, answers: tuple[Answer, ...]) -> Pending | Exception | None:
        """The next call of a function, the exception that it ends with, or None if it ends well."""
        self.replay.answers = iter(answers)
        try:
            self.module.handle_message(message, NOW + SECONDS)
        except Pending as pending:
            return pending
        except Exception as error:  # noqa: BLE001  # whatever it is, the message comes back
            return error
        return None


class _Unlimited:
    """A rate limiter and circuit breaker that hold nothing back."""

    def wait(self, _: float) -> None: ...
    def on_send(self) -> None: ...
    def on_accepted(self) -> None: ...
    def on_refused(self) -> None: ...
    def on_ambiguous(self) -> None: ...

    def defer(self, error: Unavailable) -> Deferred:
        return Deferred(error.code, error.message)


def _no_client(*_: object) -> Any:
    return SimpleNamespace()


def _nothing(*_: object, **__: object) -> None: ...


@contextmanager
def _no_context(*_: object, **__: object) -> Iterator[None]:
    yield


def _load(path: str, **settings: str) -> ModuleType:
    """A copy of the module, so that replacing its ports changes nothing else."""
    no_clients = dict.fromkeys(("s3", "sqs", "stepfunctions", "dynamodb", "secretsmanager"), _no_client)
    with patch.dict(os.environ, ENVIRONMENT | settings), patch.multiple(clients, **no_clients):
        spec = importlib.util.spec_from_file_location(
            f"model_of_{Path(path).parent.name}_{Path(path).stem}", ROOT / path
        )
        assert spec and spec.loader
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


POSTS: dict[str, Callable[[], Exception | None]] = {
    "created": lambda: None,
    "refused": lambda: Refused("invalid_file_type", "no"),
    "unavailable": lambda: Unavailable("insufficient_quota", "no", account=True),
    "ambiguous, created": lambda: Ambiguous("http_500", "perhaps"),
    "ambiguous, not created": lambda: Ambiguous("http_500", "perhaps"),
}
"""Every class of the vendor's answers to a submit."""


def gone() -> Rejected:
    return Rejected("upload_gone")
