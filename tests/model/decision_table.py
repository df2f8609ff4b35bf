"""`python -m tests.model.decision_table`: writes the table of what `submit` decides into docs/architecture.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lumendrop import images, outcomes
from lumendrop.decisions import Action, AmbiguousSubmit, Inspect, Photo, Twin, decide
from lumendrop.ledger import Holder, PaidTask, Row
from lumendrop.options import Options
from lumendrop.outcomes import Outcome
from lumendrop.storage import Reusable, Source
from lumendrop.upload_queue import Message, messages
from lumendrop.uploads import Upload

PAGE = Path(__file__).resolve().parents[2] / "docs/architecture.md"
BEGIN, END = "<!-- decisions -->\n", "<!-- end of decisions -->\n"
NOW = 1000.0

UPLOAD = Upload("bucket", "photo.jpg", "v1", "01", 10, "etag")
FOLDER = Upload("bucket", "folder/", "v1", "01", 0, "etag")
TASK = PaidTask(attempt=1, task_id="task-1", options="{}", submitted_at=1, deadline=2)
GONE = outcomes.outcome("upload_gone")

TEXTS = {
    "Skip": "acknowledge",
    "StartWorkflow": "make sure that the workflow was started (same execution name), acknowledge",
    "FindCopy": "acknowledge; first record a copy of the same photo that another run made and could not record",
    "Claim": "claim the next attempt and submit",
    "Reuse": "copy the enhanced photo: `enhanced`, or `superseded` next to a newer photo; start the workflow",
    "Reject": "`rejected`, reported",
    "EndRetry": "`failed` with the outcome of the last attempt, reported",
    "MarkUnknown": "the POST may have been sent: `unknown`, reported",
    "RecordTask": "record the task, start the workflow",
    "Wait": "requeue the message",
}


def message(**attributes: str) -> Message:
    named = {name.replace("_", "-"): {"stringValue": value} for name, value in attributes.items()}
    (read,) = messages({"Records": [{"messageId": "m1", "body": "", "messageAttributes": named}]})
    return read


def row(status: Any, **changes: Any) -> Row:
    return Row(upload=UPLOAD, status=status, **changes)


PLAIN = message()
OWNER = message(send_again="1")
PAY = message(send_again="1", pay="1")
WITH_TASK = message(task='{"attempt":1,"task_id":"task-1","options":"{}","submitted_at":1,"deadline":2}')
REPORTED = {"finished_at": "2026-01-31T12:00:00Z"}

CASES: dict[str, tuple[Upload, list[Row | None], Message, AmbiguousSubmit]] = {
    "no row": (UPLOAD, [None], PLAIN, "park"),
    "no row, a folder marker": (FOLDER, [None], PLAIN, "park"),
    "claimed, the claimant may be alive": (UPLOAD, [row("claimed", claim_expires=1001)], PLAIN, "park"),
    "claimed, the claimant is dead": (UPLOAD, [row("claimed", claim_expires=1000)], PLAIN, "park"),
    "claimed or unknown, and the message carries the paid task": (
        UPLOAD,
        [row("claimed", claim_expires=1001), row("unknown")],
        WITH_TASK,
        "park",
    ),
    "submitted": (UPLOAD, [row("submitted", task_id="task-1")], PLAIN, "park"),
    "retrying": (UPLOAD, [row("retrying", task_id="task-1", outcome=GONE)], PLAIN, "park"),
    "rejected, unknown, or failed, and not reported": (
        UPLOAD,
        [row("rejected"), row("unknown"), row("failed", outcome=GONE)],
        PLAIN,
        "park",
    ),
    "rejected, unknown, or failed, and reported": (
        UPLOAD,
        [row("rejected", **REPORTED), row("unknown", **REPORTED), row("failed", **REPORTED)],
        PLAIN,
        "park",
    ),
    "rejected, unknown, or failed, and the owner sends the upload again": (
        UPLOAD,
        [row("rejected", **REPORTED), row("unknown", **REPORTED), row("failed", **REPORTED)],
        OWNER,
        "park",
    ),
    "unknown, with `AmbiguousSubmit: retry`, the first time": (UPLOAD, [row("unknown")], PLAIN, "retry"),
    "no row, the same photo is in progress": (UPLOAD, [None], PLAIN, "park"),
    "no row, the same photo is enhanced": (UPLOAD, [None], PLAIN, "park"),
    "no row, the result of the same photo is gone": (UPLOAD, [None], PLAIN, "park"),
    "failed, the owner sends the upload again, and the same photo is enhanced": (
        UPLOAD,
        [row("failed", **REPORTED)],
        OWNER,
        "park",
    ),
    "enhanced, and the owner wants to pay again": (UPLOAD, [row("enhanced", **REPORTED)], PAY, "park"),
    "enhanced or superseded": (UPLOAD, [row("enhanced", **REPORTED), row("superseded", **REPORTED)], OWNER, "retry"),
}


HOLDER = Holder("object#bucket/copy.jpg", "v1", 1)
RESULT = Reusable("out", "copy.jpg", "etag", 10, images.JPEG, {})
ENHANCED = Twin(HOLDER, row("enhanced", **REPORTED), RESULT)
TWINS = {
    "no row, the same photo is in progress": Twin(HOLDER, row("submitted", deadline=1001)),
    "no row, the same photo is enhanced": ENHANCED,
    "no row, the result of the same photo is gone": Twin(HOLDER, row("enhanced", **REPORTED)),
    "failed, the owner sends the upload again, and the same photo is enhanced": ENHANCED,
    "enhanced, and the owner wants to pay again": ENHANCED,
}
"""What other uploads have the same bytes and options."""


def decided(case: str, photo: Photo | Outcome) -> str:
    """The one action of all rows of a case. The object is read only if the action depends on it."""
    upload, rows, sent, policy = CASES[case]
    actions = {_name(_decide(upload, one, photo, sent, policy)) for one in rows}
    (name,) = actions
    return TEXTS[name]


def _decide(
    upload: Upload, found: Row | None, photo: Photo | Outcome, sent: Message, policy: AmbiguousSubmit
) -> Action:
    action = decide(upload, found, None, sent, policy, NOW)
    return decide(upload, found, photo, sent, policy, NOW) if isinstance(action, Inspect) else action


def _name(action: Action) -> str:
    return type(action).__name__


def table() -> str:
    source = Source(UPLOAD, images.JPEG, {})
    lines = ["| row | the photo can be enhanced | the photo is deleted, archived, too big, … |", "|---|---|---|"]
    for case in CASES:
        good = Photo(source, Options("4K"), twin=TWINS.get(case))
        one, other = decided(case, good), decided(case, GONE)
        lines.append(f"| {case} | {one} | {'the same' if one == other else other} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/architecture.md with the current table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(page())
