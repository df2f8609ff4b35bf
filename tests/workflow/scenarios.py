"""Every path through the workflow: the responses of functions and services, and the upload."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lumendrop.ledger import Copy, Row
from lumendrop.outcomes import Outcome, Status
from lumendrop.polling import Poll
from lumendrop.workflow import execution_input
from tests.workflow.harness import Clock, Crash, FailedEntry, Forever, Run, Script, ServiceError, Workflow

PATIENCE = 3600
# Characters with a meaning in JSON, JSONata, shells, or URLs, which must be used literally.
HOSTILE = "a \"b\" 'c'/{% $task.id %}/${OutputBucket}/$.x/$states/\\n\\/%41+ü😀{}[]<>&?#.jpg"


def poll(state: str, wait_seconds: int = 7, **facts: Any) -> dict[str, Any]:
    """What check_status returns."""
    answer: dict[str, Any] = msgspec.to_builtins(Poll(wait_seconds=wait_seconds, **facts))
    return answer | {"state": state}


def outcome(status: Status, code: str) -> Outcome:
    return Outcome(
        status=status,
        code=code,
        message=f'What happened: "{code}".',
        advice="What to do: {% nothing %}.",
        may_have_cost=True,
    )


def delivered(key: str = "photo.jpg") -> dict[str, Any]:
    """What deliver returns for a delivered photo."""
    written = {"bucket": "photos-out", "key": key, "version_id": "out-1", "bytes": 123456, "format": "jpeg"}
    return {"state": "enhanced", "output": written}


def ended(status: Status, code: str) -> dict[str, Any]:
    """What deliver returns if there is no enhanced photo."""
    state = "superseded" if status == "superseded" else "failed"
    return {"state": state, "outcome": msgspec.to_builtins(outcome(status, code))}


LATER = {"state": "waiting", "wait_seconds": 20}
COMPLETED = poll("completed", polls=1)
WAITING = poll("waiting", polls=1, progress=40.0)
RETRYABLE = poll("failed", outcome=outcome("failed", "service_error"), retryable=True)
FAILED = poll("failed", outcome=outcome("failed", "content_policy_violation"))
FAILED_CAUSE = f"{FAILED['outcome']['message']}\n{FAILED['outcome']['advice']}"
TIMED_OUT = Crash("Sandbox.Timedout")
THROTTLED_FUNCTION = ServiceError("TooManyRequestsException", 429)
THROTTLED = ServiceError("ThrottlingException", 400)
FORBIDDEN = ServiceError("AccessDeniedException", 403)
BROKEN = ServiceError("InternalError", 500)


def _submitted(workflow: Workflow, clock: Clock) -> Row:
    return workflow.submitted(clock, "photo.jpg", patience=PATIENCE)


def _another_attempt(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, attempt={"N": "2"})
    return row


def _final_meanwhile(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "superseded"})
    return row


def _already_recorded(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "enhanced"})
    return row


def _already_failed(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "failed"})
    return row


def _third_attempt(workflow: Workflow, clock: Clock) -> Row:
    return workflow.submitted(clock, "photo.jpg", attempt=3)


def _finished(workflow: Workflow, clock: Clock) -> Row:
    row = _already_failed(workflow, clock)
    workflow.change_row(row, finished_at={"S": "2026-01-01T00:00:00.000Z"})
    return row


def _left_retrying(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "retrying"})
    return row


def _long_after_its_deadline(workflow: Workflow, clock: Clock) -> Row:
    row = workflow.submitted(clock, "photo.jpg", submitted_at=int(clock.now) - 9000, deadline=int(clock.now) - 5400)
    workflow.change_row(row, status={"S": "failed"})
    return row


def _reused(workflow: Workflow, clock: Clock) -> Row:
    """What submit writes after it copied the enhanced photo of another upload."""
    seen = {"pixels": "4096x3072", "smaller": True, "warnings": ["aspect_ratio_changed"]}
    output = delivered()["output"] | seen | {"carried_over": ["exif"], "left_out": [], "sidecar": None}
    copy = Copy(output["bucket"], "{}", "0" * 32, "task-1")
    return workflow.ledger(clock).record_reuse(workflow.upload("photo.jpg"), copy, output)


def _plain(workflow: Workflow, clock: Clock) -> Row:
    """A task without optional fields: no estimate, credits, or options."""
    return workflow.submitted(clock, "plain.jpg", estimated_seconds=None, credits=None, options="{}")


@dataclass(frozen=True)
class Scenario:
    check_status: Script = ()
    deliver: Script = ()
    faults: Mapping[str, Script] = field(default_factory=dict)
    row: Callable[[Workflow, Clock], Row] = _submitted
    given: Callable[[Workflow, Row], dict[str, Any]] = lambda _, row: execution_input(row)

    def run(self, workflow: Workflow) -> Run:
        clock = Clock()
        row = self.row(workflow, clock)
        return workflow.run(
            row,
            clock,
            given=self.given(workflow, row),
            check_status=self.check_status,
            deliver=self.deliver,
            faults=self.faults,
        )


DELIVERED = Scenario(check_status=[COMPLETED], deliver=[delivered()])

SCENARIOS: dict[str, Scenario] = {
    # A task that succeeds.
    "enhanced after one poll": DELIVERED,
    "enhanced after several polls": Scenario(
        check_status=[
            poll("waiting", 11, polls=1, progress=10.0),
            poll("waiting", 3, polls=2, progress=55.0, unreachable=1),
            poll("waiting", 2, polls=3, progress=90.0),
            poll("completed", 2, polls=4, progress=100.0),
        ],
        deliver=[delivered()],
    ),
    "enhanced, with nothing optional": Scenario(
        check_status=[COMPLETED],
        deliver=[delivered("plain.jpg")],
        row=_plain,
    ),
    "enhanced, with a hostile key": Scenario(
        check_status=[WAITING, COMPLETED],
        deliver=[delivered(HOSTILE)],
        row=lambda workflow, clock: workflow.submitted(clock, HOSTILE),
    ),
    # A photo that another upload has paid for.
    "reused": Scenario(row=_reused),
    "reused, ledger and event on the second attempt": Scenario(
        row=_reused, faults={"UpdateItem": [THROTTLED], "PutEvents": [FailedEntry()]}
    ),
    "reused, and aborted": Scenario(row=_reused, given=lambda workflow, row: workflow.ended(row, "ABORTED")),
    # Uploads without a task.
    "rejected": Scenario(row=lambda workflow, clock: workflow.rejected(clock, "notes.txt")),
    "rejected, with a hostile key": Scenario(
        row=lambda workflow, clock: workflow.rejected(clock, HOSTILE, outcome("rejected", "bad_option"))
    ),
    "unknown": Scenario(row=lambda workflow, clock: workflow.unknown(clock, "photo.jpg")),
    # Tasks that end without a photo.
    "failed": Scenario(check_status=[WAITING, FAILED]),
    "cancelled": Scenario(check_status=[poll("failed", outcome=outcome("failed", "request_cancelled"))]),
    "failed, with a hostile key": Scenario(
        check_status=[FAILED], row=lambda workflow, clock: workflow.submitted(clock, HOSTILE)
    ),
    "superseded": Scenario(check_status=[COMPLETED], deliver=[ended("superseded", "newer_upload_delivered")]),
    "refused": Scenario(check_status=[COMPLETED], deliver=[ended("failed", "result_not_an_image")]),
    # Temporary problems.
    "delivered on the second attempt": Scenario(check_status=[COMPLETED, COMPLETED], deliver=[LATER, delivered()]),
    "delivered incomplete twice": Scenario(
        check_status=[COMPLETED, COMPLETED | {"incomplete": "500 abc="}, COMPLETED | {"incomplete": "500 abc="}],
        deliver=[LATER | {"incomplete": "500 abc="}, LATER | {"incomplete": "500 abc="}, delivered()],
    ),
    "no longer completed after a delayed delivery": Scenario(
        check_status=[COMPLETED, WAITING, COMPLETED], deliver=[LATER, delivered()]
    ),
    "check_status crashes once": Scenario(check_status=[WAITING, TIMED_OUT, COMPLETED], deliver=[delivered()]),
    "check_status crashes on the first poll": Scenario(
        check_status=[Crash("Runtime.ImportModuleError"), COMPLETED], deliver=[delivered()]
    ),
    "deliver crashes once": Scenario(check_status=[COMPLETED, COMPLETED], deliver=[TIMED_OUT, delivered()]),
    "check_status throttled": Scenario(check_status=[*[THROTTLED_FUNCTION] * 3, COMPLETED], deliver=[delivered()]),
    "check_status throttled for longer": Scenario(
        check_status=[*[THROTTLED_FUNCTION] * 4, COMPLETED], deliver=[delivered()]
    ),
    "deliver throttled": Scenario(
        check_status=[COMPLETED], deliver=[*[ServiceError("ServiceException", 500)] * 3, delivered()]
    ),
    "deliver throttled for longer": Scenario(
        check_status=[COMPLETED, COMPLETED], deliver=[*[THROTTLED_FUNCTION] * 4, delivered()]
    ),
    "both throttled, and the result is delayed": Scenario(
        check_status=[*[THROTTLED_FUNCTION] * 3, COMPLETED, COMPLETED],
        deliver=[*[THROTTLED_FUNCTION] * 3, LATER, delivered()],
    ),
    "started again after the deadline": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], row=_long_after_its_deadline
    ),
    # Problems that last until the deadline.
    "never ends": Scenario(check_status=[Forever(poll("waiting", 300))]),
    "never ends, with a remark": Scenario(check_status=[Forever(poll("waiting", 300, remark=" It is paused."))]),
    "never ends, polled by an earlier version": Scenario(
        check_status=[Forever({"state": "waiting", "wait_seconds": 300, "retryable": False, "outcome": None})]
    ),
    "never delivered": Scenario(
        check_status=[Forever(COMPLETED)], deliver=[Forever({"state": "waiting", "wait_seconds": 600})]
    ),
    "ends after the deadline": Scenario(check_status=[poll("waiting", PATIENCE), COMPLETED], deliver=[delivered()]),
    "check_status always crashes": Scenario(
        check_status=[Forever(Crash())],
        row=lambda workflow, clock: workflow.submitted(clock, "photo.jpg", patience=180),
    ),
    "deliver always crashes": Scenario(
        check_status=[Forever(COMPLETED)],
        deliver=[Forever(Crash())],
        row=lambda workflow, clock: workflow.submitted(clock, "photo.jpg", patience=180),
    ),
    # The photo is delivered, but recording or publishing fails.
    "ledger throttled temporarily": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"UpdateItem": [THROTTLED, BROKEN, THROTTLED]}
    ),
    "ledger never records enhanced": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"UpdateItem": [Forever(THROTTLED)]}
    ),
    "enhanced, already recorded": Scenario(check_status=[COMPLETED], deliver=[delivered()], row=_already_recorded),
    "enhanced after it had failed": Scenario(check_status=[COMPLETED], deliver=[delivered()], row=_already_failed),
    "enhanced, another attempt has the row": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], row=_another_attempt
    ),
    "enhanced, the row is final": Scenario(check_status=[COMPLETED], deliver=[delivered()], row=_final_meanwhile),
    "enhanced, events throttled temporarily": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"PutEvents": [FailedEntry(), FailedEntry()]}
    ),
    "enhanced, no event can be published": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"PutEvents": [Forever(FailedEntry())]}
    ),
    # There is no photo, and recording, reporting, or publishing fails.
    "failed, the report on the second attempt": Scenario(check_status=[FAILED], faults={"WriteReport": [BROKEN]}),
    "failed, the report can't be written": Scenario(
        check_status=[FAILED], faults={"WriteReport": [Forever(FORBIDDEN)]}
    ),
    "rejected, the report can't be written": Scenario(
        row=lambda workflow, clock: workflow.rejected(clock, "notes.txt"), faults={"WriteReport": [Forever(FORBIDDEN)]}
    ),
    "failed, the ledger on the second attempt": Scenario(check_status=[FAILED], faults={"UpdateItem": [THROTTLED]}),
    "failed, the ledger can't be updated": Scenario(check_status=[FAILED], faults={"UpdateItem": [Forever(THROTTLED)]}),
    "failed, already recorded": Scenario(check_status=[FAILED], row=_already_failed),
    "failed, another attempt has the row": Scenario(check_status=[FAILED], row=_another_attempt),
    "failed, the row is final": Scenario(check_status=[FAILED], row=_final_meanwhile),
    "failed, the event on the second attempt": Scenario(check_status=[FAILED], faults={"PutEvents": [FailedEntry()]}),
    "failed, no event can be published": Scenario(
        check_status=[FAILED], faults={"PutEvents": [Forever(FailedEntry())]}
    ),
    "failed, and nothing can be recorded": Scenario(
        check_status=[FAILED],
        faults={
            "WriteReport": [Forever(BROKEN)],
            "UpdateItem": [Forever(THROTTLED)],
            "PutEvents": [Forever(FailedEntry())],
        },
    ),
    # A failed task that can be retried.
    "retried": Scenario(check_status=[WAITING, RETRYABLE]),
    "retried a second time": Scenario(
        check_status=[RETRYABLE], row=lambda workflow, clock: workflow.submitted(clock, "photo.jpg", attempt=2)
    ),
    "retried, with a hostile key": Scenario(
        check_status=[RETRYABLE], row=lambda workflow, clock: workflow.submitted(clock, HOSTILE)
    ),
    "retried, already recorded": Scenario(check_status=[RETRYABLE], row=_left_retrying),
    "retried, ledger and queue on the second attempt": Scenario(
        check_status=[RETRYABLE], faults={"UpdateItem": [THROTTLED], "SendMessage": [BROKEN]}
    ),
    "third attempt fails": Scenario(check_status=[RETRYABLE], row=_third_attempt),
    "not retried, the ledger can't be updated": Scenario(
        check_status=[RETRYABLE], faults={"UpdateItem": [THROTTLED] * 11}
    ),
    "not retried, another attempt has the row": Scenario(check_status=[RETRYABLE], row=_another_attempt),
    "not retried, the queue is unavailable": Scenario(
        check_status=[RETRYABLE], faults={"SendMessage": [Forever(BROKEN)]}
    ),
    # Executions that ended without a final status.
    "aborted": Scenario(given=lambda workflow, row: workflow.ended(row, "ABORTED")),
    "timed out": Scenario(given=lambda workflow, row: workflow.ended(row, "TIMED_OUT")),
    "broken": Scenario(
        given=lambda workflow, row: workflow.ended(row, "FAILED", "States.Runtime", "An error occurred.\nIn a state.")
    ),
    "aborted, with a hostile key": Scenario(
        given=lambda workflow, row: workflow.ended(row, "ABORTED"),
        row=lambda workflow, clock: workflow.submitted(clock, HOSTILE),
    ),
    "aborted before a retry": Scenario(given=lambda workflow, row: workflow.ended(row, "ABORTED"), row=_left_retrying),
    "aborted while reporting a rejection": Scenario(
        given=lambda workflow, row: workflow.ended(row, "ABORTED"),
        row=lambda workflow, clock: workflow.rejected(clock, "notes.txt"),
    ),
    "aborted, the ledger is unavailable": Scenario(
        given=lambda workflow, row: workflow.ended(row, "ABORTED"), faults={"UpdateItem": [Forever(THROTTLED)]}
    ),
    "aborted, and can't be described": Scenario(
        given=lambda workflow, row: workflow.ended(row, "ABORTED"), faults={"DescribeExecution": [Forever(THROTTLED)]}
    ),
    "failed after the final status": Scenario(
        given=lambda workflow, row: workflow.ended(row, "FAILED", "content_policy_violation"), row=_finished
    ),
    "failed late": Scenario(
        given=lambda workflow, row: workflow.ended(row, "FAILED", "content_policy_violation", FAILED_CAUSE)
    ),
    "ended, another attempt has the row": Scenario(
        given=lambda workflow, row: workflow.ended(row, "FAILED", "States.Runtime"), row=_another_attempt
    ),
    "delivered but not recorded": Scenario(given=lambda workflow, row: workflow.ended(row, "FAILED", "not_recorded")),
    "started for another execution, and ended": Scenario(
        given=lambda workflow, row: _ended_again(workflow.ended(row, "ABORTED"))
    ),
}


def _ended_again(event: dict[str, Any]) -> dict[str, Any]:
    """The event of a failed execution that was itself started by such an event."""
    return event | {"detail": event["detail"] | {"status": "FAILED", "input": json.dumps(event)}}
