"""Runs both state machines through their scenarios, and keeps every evaluation of an expression with its result."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from jsonata.timebox import Timebox
from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as intrinsic
from moto.stepfunctions.parser.asl.jsonata import jsonata as engine

from sandbox.aws.moto_patches.stepfunctions_jsonata import _DECLARATION
from tests.template.asl import expressions, variables
from tests.workflow.harness import Script, ServiceError, Workflow, deployed
from tests.workflow.scenarios import HOSTILE, SCENARIOS

Result = dict[str, Any]
"""A `value`, or `undefined`, or an `error`."""

FORBIDDEN = ServiceError("AccessDenied", 403)
BROKEN = ServiceError("InternalError", 500)
PREFIX = "incoming/"


@dataclass(frozen=True)
class Backfill:
    """A run of the backfill: the names of the objects below the prefix, and the answers of services."""

    names: tuple[str, ...] = ()
    faults: tuple[tuple[str, Script], ...] = ()
    prefix: str | None = None


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{number}.jpg" for number in range(count))


def _refused(*ids: int) -> Result:
    """SQS accepts a batch, but not these messages."""
    failed = [{"Id": str(one), "SenderFault": False, "Code": "InternalError"} for one in ids]
    return {"Successful": [], "Failed": failed}


BACKFILLS: dict[str, Backfill] = {
    **{f"{count} photos": Backfill(_numbered(count)) for count in (0, 1, 2, 9, 10, 11, 20, 21, 99, 100, 101)},
    "hostile keys": Backfill((HOSTILE.lstrip("/"), "'\"\\", "ü 日本 📷", "a/", "b/photo.jpg")),
    "one key that SQS does not accept": Backfill(("\ufffe.jpg", "photo.jpg")),
    "only such keys": Backfill(("\ufffe.jpg", "\uffff.jpg")),
    "many objects, one of them left out": Backfill((*_numbered(120), "\uffff.jpg")),
    "one message refused once": Backfill(_numbered(1), (("SendMessageBatch", [_refused(0)]),)),
    "some messages refused": Backfill(_numbered(12), (("SendMessageBatch", [_refused(0, 3, 9), _refused(3)]),)),
    "one message refused five times": Backfill(_numbered(3), (("SendMessageBatch", [_refused(1)] * 5),)),
    "three messages refused five times": Backfill(_numbered(3), (("SendMessageBatch", [_refused(0, 1, 2)] * 5),)),
    "no queue": Backfill(_numbered(3), (("SendMessageBatch", [FORBIDDEN] * 6),)),
    "no queue for a moment": Backfill(_numbered(3), (("SendMessageBatch", [BROKEN, BROKEN]),)),
    "a bucket without versioning": Backfill(faults=(("GetBucketVersioning", [{}]),)),
    "a bucket with suspended versioning": Backfill(faults=(("GetBucketVersioning", [{"Status": "Suspended"}]),)),
    "a bucket of another account": Backfill(faults=(("GetBucketVersioning", [FORBIDDEN] * 11),)),
    "a folder": Backfill(prefix=f"{PREFIX}folder/"),
    "above InputPrefix": Backfill(prefix="in"),
    "outside of InputPrefix": Backfill(prefix="elsewhere/"),
}


@dataclass(frozen=True)
class Evaluation:
    """An expression, what it could read, as JSON, and the time in milliseconds."""

    expression: str
    variables: str
    now: int


def as_written(expression: str) -> str:
    """An expression with the names of the two buckets as they are in the definitions."""
    return re.sub(r"lumendrop-(in|out)putbucket-\w+", lambda name: f"${{{name[1].capitalize()}putBucket}}", expression)


class Recorder:
    """Every evaluation with its result, and the expressions that were to be evaluated, as the definitions have them."""

    def __init__(self) -> None:
        self.evaluations: dict[Evaluation, Result] = {}
        self.expressions: set[str] = set()
        self.count = 0

    @contextlib.contextmanager
    def recording(self, workflow: Workflow) -> Iterator[None]:
        definitions = (workflow.definition, workflow.backfill_definition)
        wanted = {one.strip() for definition in definitions for one in expressions(definition)}
        self.expressions |= set(map(as_written, wanted))
        evaluate = engine._eval_jsonata
        assert evaluate is not None

        def record(text: str) -> Any:
            # The engine also evaluates the type of each result, in an expression around this one.
            expression = _DECLARATION.sub("", text).replace(intrinsic._DECLARATION_PARSE, "")[1:-1]
            if expression not in wanted:
                return evaluate(text)
            self.count += 1
            read = {name: json.loads(value) for name, value in _DECLARATION.findall(text)}
            known = {name: value for name, value in sorted(read.items()) if name in variables(expression)}
            reads_time = "$now()" in expression or "$millis()" in expression
            key = Evaluation(expression, json.dumps(known), Timebox.current_milli_time() if reads_time else 0)
            try:
                value = evaluate(text)
            except Exception as error:
                self.evaluations[key] = {"error": str(error)}
                raise
            exists = value is not None or evaluate(f"$exists({text})")
            self.evaluations[key] = {"value": value} if exists else {"undefined": True}
            return value

        with patch.object(engine, "_eval_jsonata", record):
            yield


def record_everything() -> Recorder:
    """Run every scenario of the workflow, and the backfill with and without InputPrefix."""
    recorder = Recorder()
    with deployed(InputPrefix=PREFIX) as workflow, recorder.recording(workflow):
        for scenario in SCENARIOS.values():
            scenario.run(workflow)
        for number, backfill in enumerate(BACKFILLS.values()):
            _run(workflow, backfill, f"{PREFIX}{number}/")
    with deployed() as workflow, recorder.recording(workflow):
        _run(workflow, BACKFILLS["some messages refused"], "")
    return recorder


def _run(workflow: Workflow, backfill: Backfill, prefix: str) -> None:
    faults: Mapping[str, Script] = dict(backfill.faults)
    objects = {prefix + name: b"" if name.endswith("/") else b"photo" for name in backfill.names}
    workflow.backfill(objects, prefix if backfill.prefix is None else backfill.prefix, faults)
