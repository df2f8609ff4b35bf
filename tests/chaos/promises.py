"""Checks of the promises against the evidence of a run; each returns its figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lumendrop_cli.statuses import FINAL
from tests.chaos.evidence import Evidence, Output
from tests.chaos.faults import BEFORE_POST
from tests.chaos.run import Run, Upload

Json = dict[str, Any]

MOST_TASKS = 3
MOST_RECEIVES = 5
# The contract's retryable codes of failed tasks.
RETRYABLE_CODES = {
    "service_error",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "service_unavailable",
    "generation_failed_no_content",
}
# The secrets of a presigned URL, unless redacted.
_SECRET = re.compile(r"(?:X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential)(?:=|%3D)(?!\[redacted\])|/results/\w")


@dataclass
class Finding:
    """A promise, its figures, and what breaks it."""

    promise: str
    figures: dict[str, Counter[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The figures and problems as text."""
        counted = (f"{of_what}: {_counted(counts)}" for of_what, counts in self.figures.items() if counts)
        return [*counted, *(f"! {problem}" for problem in self.broken)]


def check_all(run: Run, evidence: Evidence, key: str) -> list[Finding]:
    """Checks every promise that applies to a run with random faults. `key` is the enhancer's API key."""
    return [
        every_upload_ends_once(run, evidence),
        no_upload_is_paid_for_twice(run, evidence),
        charges_match(run, evidence),
        daily_counters_match(evidence),
        newest_upload_wins(run, evidence),
        only_crashes_reach_the_dead_letter_queue(run, evidence),
        no_secret_is_exposed(run, evidence, key),
    ]


def every_upload_ends_once(run: Run, evidence: Evidence) -> Finding:
    """Each upload has one final status, and an output object that decodes, a newer one of its key, or a report."""
    finding = Finding("1. every upload ends in exactly one state, with a photo or a report")
    states: Counter[str] = Counter()
    delivered: set[str] = set()
    for upload in reversed(run.uploads):
        row = evidence.rows.get(upload.version_id, {})
        states[str(row.get("status"))] += 1
        if upload.version_id in evidence.outputs:
            delivered.add(upload.key)
        problems = _end_problems(upload, row, evidence, has_photo=upload.key in delivered)
        finding.broken += [f"{upload}: {problem}" for problem in problems]
    unexpected = set(evidence.rows) - {upload.version_id for upload in run.uploads}
    finding.broken += [f"{evidence.rows[version_id]['pk']}: a row without an upload" for version_id in unexpected]
    finding.figures = {
        "uploads": states,
        "why not enhanced": Counter(str(row["outcome"]["code"]) for row in evidence.rows.values() if "outcome" in row),
        "stopped by the owner": Counter(
            {"executions": run.stopped_executions, "during delivery": _failed_but_delivered(evidence)}
        ),
    }
    return finding


def _end_problems(upload: Upload, row: Json, evidence: Evidence, *, has_photo: bool) -> Iterator[str]:
    """`has_photo`: whether the output bucket has a photo of this upload or of a newer one of its key."""
    if not row:
        yield "no row in the ledger"
        return
    executions = evidence.executions[upload.version_id]
    if len(executions) > len(set(executions)):
        yield f"more than one execution for an attempt: {executions}"
    status = row["status"]
    if status not in FINAL or "finished_at" not in row:
        yield f"its status is {status}, which is not final"
        return
    if status == "enhanced":
        yield from _photo_problems(row, evidence.outputs.get(upload.version_id, []))
    reports = evidence.reports.get(upload.version_id, [])
    if has_photo and reports:
        yield f"{status}, but its report is next to its photo or a newer one"
    elif not has_photo and [one["status"] for one in reports] != [status]:
        yield f"{status}, but without exactly one report about that"


def _photo_problems(row: Json, outputs: list[Output]) -> Iterator[str]:
    if not outputs:
        yield "enhanced, but without an object in the output bucket"
    elif not all(output.decodes for output in outputs):
        yield "its photo does not decode"
    elif row["output"]["version_id"] not in {output.version_id for output in outputs}:
        yield "its row has the version id of another object"


def _failed_but_delivered(evidence: Evidence) -> int:
    failed = [row for row in evidence.rows.values() if row["status"] == "failed"]
    return sum(bool(evidence.outputs.get(row["sk"])) for row in failed)


def no_upload_is_paid_for_twice(run: Run, evidence: Evidence) -> Finding:
    """One task, plus one for each retryable failure; no submit after an ambiguous one."""
    finding = Finding("2. one task for each upload, one more only for each failed and retryable one")
    counts: Counter[str] = Counter()
    ambiguous = 0
    for upload in run.uploads:
        tasks = evidence.tasks.get(upload.version_id, [])
        counts[f"{len(tasks)} tasks"] += 1
        if any(not _has_retryable_failure(task) for task in tasks[:-1]):
            finding.broken.append(
                f"{upload}: {len(tasks)} tasks, although {tasks[0]['status']} with {tasks[0]['error']}"
            )
        if len(tasks) > MOST_TASKS:
            finding.broken.append(f"{upload}: {len(tasks)} tasks")
        problems, found = _after_ambiguity(upload, evidence, run)
        ambiguous += found
        finding.broken += [f"{upload}: {problem}" for problem in problems]
        finding.broken += [f"{upload}: {problem}" for problem in _missing_retry(upload, evidence)]
    submits = sum(len(calls) for calls in evidence.submits.values())
    repeated = sum("repeated after" in problem for problem in finding.broken)
    finding.figures = {
        "at the enhancer": Counter({"submits": submits, "tasks": sum(map(len, evidence.tasks.values()))}),
        "uploads by their tasks": counts,
        "ambiguous submits": Counter({"all": ambiguous, "repeated": repeated}),
    }
    return finding


def daily_counters_match(evidence: Evidence) -> Finding:
    """The ledger's daily counters include exactly the attempts that created a task or may have created one."""
    finding = Finding("6. the daily counters include every attempt that may have been charged")
    charged = sum(len(row.get("earlier", [])) + _may_have_cost(row) for row in evidence.rows.values())
    counted = sum(evidence.days.values())
    if charged != counted:
        finding.broken.append(f"{charged} attempts may have been charged, {counted} are counted")
    finding.figures = {"attempts": Counter({"possibly charged": charged, "counted": counted})}
    return finding


def _may_have_cost(row: Json) -> bool:
    """Whether the last attempt created a task or may have.

    A reused photo has the task of another upload. A rejected attempt created none, but an earlier one may have cost.
    """
    if "same_as" in row or row["status"] == "rejected":
        return False
    return bool(row.get("task_id") or row.get("outcome", {}).get("may_have_cost"))


def _after_ambiguity(upload: Upload, evidence: Evidence, run: Run) -> tuple[list[str], int]:
    """Problems with submits that may have been accepted, and the number of these submits."""
    row = evidence.rows.get(upload.version_id, {})
    known = {row.get("task_id"), *(one.get("task_id") for one in row.get("earlier", []))}
    submits = evidence.submits.get(upload.version_id, [])
    ambiguous = [
        place
        for place, submit in enumerate(submits)
        if _is_ambiguous(submit["fault"]) or (submit["task_id"] and submit["task_id"] not in known)
    ]
    later = [place for place in ambiguous if place < len(submits) - 1]
    problems = [f"repeated after an ambiguous submit ({submits[place]['fault']})" for place in later]
    # The POST was never sent, but the ledger can't show that.
    killed = upload.version_id in run.faults.killed_uploads.get(BEFORE_POST, ())
    if (ambiguous or killed) and row.get("status") != "unknown":
        problems.append(f"an ambiguous submit, but its status is {row.get('status')}")
    return problems, len(ambiguous) + (killed and not ambiguous)


def _is_ambiguous(fault: Json | None) -> bool:
    if fault is None:
        return False
    if fault["kind"] != "http":
        return True
    if fault["status"] == 503:
        return bool(fault["body"] != "error")
    return bool(fault["status"] >= 500)


def _missing_retry(upload: Upload, evidence: Evidence) -> Iterator[str]:
    tasks = evidence.tasks.get(upload.version_id, [])
    row = evidence.rows.get(upload.version_id, {})
    code = (row.get("outcome") or {}).get("code")
    if row.get("status") == "failed" and code in RETRYABLE_CODES and len(tasks) < MOST_TASKS:
        yield f"failed after {len(tasks)} tasks, although {code} is retryable"


def _has_retryable_failure(task: Json) -> bool:
    return bool(task["status"] == "failed" and task["error"]["code"] in RETRYABLE_CODES)


def charges_match(run: Run, evidence: Evidence) -> Finding:
    """Every charge of the enhancer is in the ledger or belongs to an upload with the status `unknown`."""
    finding = Finding("2. the charges in the ledger match the enhancer's")
    charged = {task["id"]: task for tasks in evidence.tasks.values() for task in tasks}
    recorded = {
        str(attempt["task_id"]): attempt.get("credits")
        for row in evidence.rows.values()
        for attempt in (row, *row.get("earlier", []))
        if attempt.get("task_id")
    }
    finding.broken += [f"{task_id}: in the ledger, but never created" for task_id in recorded.keys() - charged.keys()]
    for task_id, credits in recorded.items():
        if task_id in charged and credits != charged[task_id]["credits"]:
            finding.broken.append(f"{task_id}: {credits} credits in the ledger, charged {charged[task_id]['credits']}")
    unrecorded = [task for task_id, task in charged.items() if task_id not in recorded]
    for task in unrecorded:
        if _status(evidence, task["version_id"]) != "unknown":
            finding.broken.append(f"{task['id']}: charged, not in the ledger, and its upload is not unknown")
    known, unknown = sum(map(int, recorded.values())), sum(task["credits"] for task in unrecorded)
    if known + unknown != evidence.used:
        finding.broken.append(
            f"{known} credits in the ledger and {unknown} of unknown uploads, but {evidence.used} charged"
        )
    finding.figures = {
        "credits": Counter({"in the ledger": known, "of unknown uploads": unknown, "charged": evidence.used})
    }
    return finding


def newest_upload_wins(run: Run, evidence: Evidence) -> Finding:
    """The newest photo of a key is the current object; a superseded upload is older than a delivered one."""
    finding = Finding("3. the newest upload of each key is the one in the output bucket")
    keys: dict[str, list[str]] = {}
    for upload in run.uploads:
        keys.setdefault(upload.key, []).append(upload.version_id)
    several = 0
    for key, versions in keys.items():
        several += sum(_status(evidence, version) == "enhanced" for version in versions) > 1
        finding.broken += [f"{key}: {problem}" for problem in _order_problems(versions, evidence)]
    superseded = sum(row["status"] == "superseded" for row in evidence.rows.values())
    finding.figures = {
        "keys": Counter(
            {
                "all": len(keys),
                "uploaded more than once": sum(len(versions) > 1 for versions in keys.values()),
                "enhanced more than once": several,
            }
        ),
        "results": Counter({"superseded": superseded}),
    }
    return finding


def _order_problems(versions: list[str], evidence: Evidence) -> Iterator[str]:
    """Problems with the photos of one key; `versions` are its uploads, the oldest first."""
    written = [(version, output.newer) for version in versions for output in evidence.outputs.get(version, [])]
    order = [newer for _, newer in written]
    if order != sorted(order, reverse=True):
        yield "an older photo replaced a newer one, at least temporarily"
    # The status does not matter: the owner may have stopped an execution after its delivery.
    newest = written[-1][0] if written else None
    if newest and (newest, 0) not in written:
        yield f"its newest photo {newest} is not the current object"
    later = versions[versions.index(newest) :] if newest else versions
    if any(_status(evidence, version) == "superseded" for version in later):
        yield "superseded without a newer photo"


def _status(evidence: Evidence, version_id: str) -> str:
    return str(evidence.rows.get(version_id, {}).get("status"))


def only_crashes_reach_the_dead_letter_queue(run: Run, evidence: Evidence) -> Finding:
    """The dead-letter queue holds only uploads that the fault plan crashed five times."""
    finding = Finding("4. the dead-letter queue holds only uploads that crashed five times")
    crashes = run.faults.crashes
    copies = Counter(evidence.dead)
    for version_id, count in copies.items():
        if crashes[version_id] < count * MOST_RECEIVES:
            finding.broken.append(f"{version_id}: {count} messages, but {crashes[version_id]} crashes")
    # The messages were sent again afterwards; promise 1 covers their end.
    finding.figures = {
        "in the dead-letter queue": Counter({"messages": len(evidence.dead), "uploads": len(copies)}),
        "crashes": Counter({"all": sum(crashes.values()), "uploads with a crash": len(+crashes)}),
    }
    return finding


def no_secret_is_exposed(run: Run, evidence: Evidence, key: str) -> Finding:
    """No log line, workflow state, report, ledger row, or message contains a signature, a link, or the key."""
    finding = Finding("7. no signature, token or key anywhere")
    secrets = re.compile("|".join(map(re.escape, [key, *run.faults.signatures])))
    for place, texts in evidence.texts.items():
        for text in texts:
            found = secrets.search(text) or _SECRET.search(text)
            if found:
                start = max(0, found.start() - 60)
                finding.broken.append(f"{place}: …{text[start : found.end()]}…")
    finding.figures = {
        "searched for": Counter({"keys": 1, "signatures in use": len(run.faults.signatures)}),
        "texts": Counter({place: len(texts) for place, texts in evidence.texts.items()}),
        "characters": Counter({place: sum(map(len, texts)) for place, texts in evidence.texts.items()}),
    }
    return finding


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
