"""An upload's execution, from its history: what it does now, and its path through the workflow's states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from lumendrop_cli.errors import error_code
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack
from lumendrop_cli.text import clean, clean_value
from lumendrop_cli.workflow import execution_arn

_NEWEST_EVENTS = 40  # of one iteration of the workflow there are about ten
_PAGE = 1000
_LONGEST_PATH = 2000
_STAGES = {
    "RouteInput": "waiting",
    "WaitForTask": "waiting",
    "CheckStatus": "enhancing",
    "IsDone": "enhancing",
    "Deliver": "delivering",
    "IsDelivered": "delivering",
    "RecordEnhanced": "delivering",
    "PublishEnhanced": "delivering",
}


@dataclass(frozen=True)
class Progress:
    """What an execution does now. `percent` is the enhancer's own figure, known after a poll that reported one."""

    stage: str
    percent: float | None = None
    polls: int | None = None
    ended: bool = False


def progress(stack: Stack, row: Row) -> Progress | None:
    """The progress of a row's execution, in one read. None if it hasn't started."""
    try:
        answer = stack.client("stepfunctions").get_execution_history(
            executionArn=execution_arn(stack, row), reverseOrder=True, maxResults=_NEWEST_EVENTS
        )
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return None
        raise
    return progress_of(answer["events"])


def progress_of(events: list[dict[str, Any]]) -> Progress | None:
    """The progress according to an execution's newest events, in any order."""
    newest = sorted(events, key=lambda event: event["id"], reverse=True)
    entered = next((name for event in newest if (name := _entered(event))), None)
    if entered is None:
        return None
    poll = next((poll for event in newest if (poll := _poll(event))), {})
    stage = _STAGES.get(entered, "reporting")
    if entered == "WaitForTask" and poll:
        stage = "enhancing"
    percent, polls = poll.get("progress"), poll.get("polls")
    return Progress(
        stage,
        float(percent) if isinstance(percent, int | float) and 0 < percent < 100 else None,
        polls if isinstance(polls, int) else None,
        ended=any(event["type"].startswith("Execution") and event["type"] != "ExecutionStarted" for event in newest),
    )


def path(stack: Stack, row: Row) -> dict[str, Any]:
    """The execution of a row's current attempt, with each state that it entered and when. Empty if there is none."""
    arn, states = execution_arn(stack, row), stack.client("stepfunctions")
    try:
        described = states.describe_execution(executionArn=arn)
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return {}
        raise
    pages = states.get_paginator("get_execution_history").paginate(
        executionArn=arn, PaginationConfig={"PageSize": _PAGE}
    )
    return {
        "arn": arn,
        "status": described["status"],
        "started": _seconds(described["startDate"]),
        "ended": _seconds(described.get("stopDate")),
        "error": clean_value(described.get("error")),
        "cause": _cause(described.get("cause"), row),
        "states": steps(event for page in pages for event in page["events"]),
        "console": None if stack.is_sandbox else _console(arn),
    }


def _cause(cause: str | None, row: Row) -> str | None:
    """The cause as one paragraph; None if it is the outcome, which the page shows anyway."""
    outcome = row.get("outcome") or {}
    if not cause or cause == f"{outcome.get('message')}\n{outcome.get('advice')}":
        return None
    return clean(" ".join(cause.split()))


def steps(events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The states in the order in which they were entered; `left` is None for the current one."""
    found: list[dict[str, Any]] = []
    for event in events:
        if name := _entered(event):
            if len(found) == _LONGEST_PATH:
                break
            kind = event["type"].removesuffix("StateEntered")
            found.append({"name": clean(name), "type": kind, "entered": _seconds(event["timestamp"]), "left": None})
        elif found and event["type"].endswith("StateExited"):
            found[-1]["left"] = _seconds(event["timestamp"])
        elif found and (text := _failure(event)):
            found[-1]["error"] = text
    return found


def _entered(event: dict[str, Any]) -> str | None:
    details = event.get("stateEnteredEventDetails")
    return str(details["name"]) if details else None


def _poll(event: dict[str, Any]) -> dict[str, Any]:
    """What check_status returned, if this event has it."""
    output = (event.get("taskSucceededEventDetails") or {}).get("output")
    try:
        payload = json.loads(output or "{}").get("Payload")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) and "polls" in payload else {}


def _failure(event: dict[str, Any]) -> str | None:
    for name, details in event.items():
        if name.endswith(("FailedEventDetails", "TimedOutEventDetails")) and isinstance(details, dict):
            return clean(str(details.get("error") or event["type"]))
    return None


def _console(arn: str) -> str:
    region = arn.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
