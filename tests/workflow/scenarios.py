"""Every way through the workflow: what the functions and services answer, and the upload it begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lumendrop.ledger import Row
from lumendrop.outcomes import Outcome, Status
from lumendrop.polling import Poll
from tests.workflow.harness import Clock, Crash, FailedEntry, Forever, Run, Script, ServiceError, Workflow

PATIENCE = 3600
# Characters that would mean something to JSON, JSONata, shells or URLs if they were not taken literally.
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
    """What deliver returns for a photo that is there."""
    written = {"bucket": "photos-out", "key": key, "version_id": "out-1", "bytes": 123456, "format": "JPEG"}
    return {"state": "enhanced", "output": written}


def ended(status: Status, code: str) -> dict[str, Any]:
    """What deliver returns for a photo that does not come."""
    state = "superseded" if status == "superseded" else "failed"
    return {"state": state, "outcome": msgspec.to_builtins(outcome(status, code))}


LATER = {"state": "waiting", "wait_seconds": 20}
COMPLETED = poll("completed", polls=1)
WAITING = poll("waiting", polls=1, progress=40.0)
FAILED = poll("failed", outcome=outcome("failed", "content_policy_violation"))
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


def _closed_meanwhile(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "superseded"})
    return row


def _recorded_already(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "enhanced"})
    return row


def _failed_already(workflow: Workflow, clock: Clock) -> Row:
    row = _submitted(workflow, clock)
    workflow.change_row(row, status={"S": "failed"})
    return row


def _plain(workflow: Workflow, clock: Clock) -> Row:
    """Nothing but what every task has: no estimate, no credits, no options."""
    return workflow.submitted(clock, "plain.jpg", estimated_seconds=None, credits=None, options="{}")


@dataclass(frozen=True)
class Scenario:
    check_status: Script = ()
    deliver: Script = ()
    faults: Mapping[str, Script] = field(default_factory=dict)
    row: Callable[[Workflow, Clock], Row] = _submitted

    def run(self, workflow: Workflow) -> Run:
        clock = Clock()
        return workflow.run(
            self.row(workflow, clock),
            clock,
            check_status=self.check_status,
            deliver=self.deliver,
            faults=self.faults,
        )


DELIVERED = Scenario(check_status=[COMPLETED], deliver=[delivered()])

SCENARIOS: dict[str, Scenario] = {
    # A task that goes well.
    "enhanced at the first look": DELIVERED,
    "enhanced after some looks": Scenario(
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
    # Trouble that passes.
    "delivered at the second try": Scenario(check_status=[COMPLETED, COMPLETED], deliver=[LATER, delivered()]),
    "not completed any more after a delivery that had to wait": Scenario(
        check_status=[COMPLETED, WAITING, COMPLETED], deliver=[LATER, delivered()]
    ),
    "check_status crashes once": Scenario(check_status=[WAITING, TIMED_OUT, COMPLETED], deliver=[delivered()]),
    "check_status crashes before anything is known": Scenario(
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
    # Trouble that lasts, until the deadline.
    "never ends": Scenario(check_status=[Forever(poll("waiting", 300))]),
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
    # The photo is there, and the books are not in order.
    "ledger throttled, then not": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"UpdateItem": [THROTTLED, BROKEN, THROTTLED]}
    ),
    "ledger never writes enhanced": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"UpdateItem": [Forever(THROTTLED)]}
    ),
    "enhanced, recorded already": Scenario(check_status=[COMPLETED], deliver=[delivered()], row=_recorded_already),
    "enhanced, another attempt has the row": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], row=_another_attempt
    ),
    "enhanced, the row is closed": Scenario(check_status=[COMPLETED], deliver=[delivered()], row=_closed_meanwhile),
    "enhanced, events throttled, then not": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"PutEvents": [FailedEntry(), THROTTLED]}
    ),
    "enhanced, no event gets through": Scenario(
        check_status=[COMPLETED], deliver=[delivered()], faults={"PutEvents": [Forever(FORBIDDEN)]}
    ),
    # No photo, and the books are not in order either.
    "failed, the report at the second try": Scenario(check_status=[FAILED], faults={"PutObject": [BROKEN]}),
    "failed, the report can't be written": Scenario(check_status=[FAILED], faults={"PutObject": [Forever(FORBIDDEN)]}),
    "failed, the ledger at the second try": Scenario(check_status=[FAILED], faults={"UpdateItem": [THROTTLED]}),
    "failed, the ledger never writes": Scenario(check_status=[FAILED], faults={"UpdateItem": [Forever(THROTTLED)]}),
    "failed, recorded already": Scenario(check_status=[FAILED], row=_failed_already),
    "failed, another attempt has the row": Scenario(check_status=[FAILED], row=_another_attempt),
    "failed, the row is closed": Scenario(check_status=[FAILED], row=_closed_meanwhile),
    "failed, the event at the second try": Scenario(check_status=[FAILED], faults={"PutEvents": [FailedEntry()]}),
    "failed, no event gets through": Scenario(check_status=[FAILED], faults={"PutEvents": [Forever(FailedEntry())]}),
    "failed, and nothing can be written": Scenario(
        check_status=[FAILED],
        faults={action: [Forever(BROKEN)] for action in ("PutObject", "UpdateItem", "PutEvents")},
    ),
}
