"""The promises, held against the evidence of a run; each with the figures that it is judged by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.faults import BEFORE_POST
from tests.chaos.run import Run, Upload

Json = dict[str, Any]

FINAL = {"enhanced", "rejected", "failed", "superseded", "unknown"}
MOST_TASKS = 3
MOST_RECEIVES = 5
# The contract's codes of failed tasks that are worth another try.
RETRYABLE = {
    "service_error",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "service_unavailable",
    "generation_failed_no_content",
}
# A presigned URL's secrets, with a value that was not taken out.
_SECRET = re.compile(r"(?:X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential)(?:=|%3D)(?!\[redacted\])|/results/\w")


@dataclass
class Finding:
    """A promise, what was counted of what, and what breaks it."""

    promise: str
    figures: dict[str, Counter[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The figures and what breaks the promise, for whoever reads them."""
        counted = (f"{of_what}: {_counted(counts)}" for of_what, counts in self.figures.items() if counts)
        return [*counted, *(f"! {problem}" for problem in self.broken)]


def judged(run: Run, evidence: Evidence, key: str) -> list[Finding]:
    """Every promise that one run in bad weather can tell about. `key` is the enhancer's API key."""
    return [
        every_upload_ends_once(run, evidence),
        nothing_is_paid_for_twice(run, evidence),
        the_books_balance(run, evidence),
        the_days_are_counted(evidence),
        the_newest_wins(run, evidence),
        only_crashes_are_dead(run, evidence),
        no_secret_is_told(run, evidence, key),
    ]


def every_upload_ends_once(run: Run, evidence: Evidence) -> Finding:
    """One final state each; an output object that decodes, or a report."""
    finding = Finding("1. every upload ends in exactly one state, with a photo or a report")
    states: Counter[str] = Counter()
    for upload in run.uploads:
        row = evidence.rows.get(upload.version_id, {})
        states[str(row.get("status"))] += 1
        finding.broken += [f"{upload}: {problem}" for problem in _ends_badly(upload, row, evidence)]
    strangers = set(evidence.rows) - {upload.version_id for upload in run.uploads}
    finding.broken += [f"{evidence.rows[version_id]['pk']}: a row for no upload" for version_id in strangers]
    finding.figures = {
        "uploads": states,
        "why not enhanced": Counter(str(row["outcome"]["code"]) for row in evidence.rows.values() if "outcome" in row),
        "stopped by the owner": Counter({"executions": run.aborted, "in their delivery": _delivered_too(evidence)}),
    }
    return finding


def _ends_badly(upload: Upload, row: Json, evidence: Evidence) -> Iterator[str]:
    if not row:
        yield "no row in the ledger"
        return
    executions = evidence.executions[upload.version_id]
    if len(executions) > len(set(executions)):
        yield f"more than one execution for an attempt: {executions}"
    status = row["status"]
    if status not in FINAL or "finished_at" not in row:
        yield f"its row says {status}, and that is not its end"
        return
    outputs = evidence.outputs.get(upload.version_id, [])
    if status == "enhanced":
        if not outputs:
            yield "enhanced, but no object in the output bucket names it"
        elif not all(output.decodes for output in outputs):
            yield "its photo does not decode"
        elif row["output"]["version_id"] not in {output.version_id for output in outputs}:
            yield "its row names another object version than the one in the output bucket"
        return
    reports = [one for one in evidence.reports.get(upload.version_id, []) if one["status"] == status]
    if not reports:
        yield f"{status}, but no report says so"
    if status == "superseded" and all(output.place > 0 for output in outputs):
        return  # delivered twice, and the newer upload in between
    if outputs and not any("the photo is in the output bucket" in report["what_to_do"] for report in reports):
        yield f"{status} ({row['outcome']['code']}), but there is a photo in the output bucket, and no report says so"


def _delivered_too(evidence: Evidence) -> int:
    failed = [row for row in evidence.rows.values() if row["status"] == "failed"]
    return sum(bool(evidence.outputs.get(row["sk"])) for row in failed)


def nothing_is_paid_for_twice(run: Run, evidence: Evidence) -> Finding:
    """One task, or one more for each that failed for a passing reason; none after an ambiguous submit."""
    finding = Finding("2. one task for each upload, one more only for each failed and retryable one")
    counts: Counter[str] = Counter()
    ambiguous = 0
    for upload in run.uploads:
        tasks = evidence.tasks.get(upload.version_id, [])
        counts[f"{len(tasks)} tasks"] += 1
        if any(not _failed_for_a_passing_reason(task) for task in tasks[:-1]):
            finding.broken.append(f"{upload}: {len(tasks)} tasks, though {tasks[0]['status']} with {tasks[0]['error']}")
        if len(tasks) > MOST_TASKS:
            finding.broken.append(f"{upload}: {len(tasks)} tasks")
        problems, found = _after_ambiguity(upload, evidence, run)
        ambiguous += found
        finding.broken += [f"{upload}: {problem}" for problem in problems]
        finding.broken += [f"{upload}: {problem}" for problem in _given_up(upload, evidence)]
    submits = sum(len(calls) for calls in evidence.submits.values())
    again = sum("sent again" in problem for problem in finding.broken)
    finding.figures = {
        "at the enhancer": Counter({"submits": submits, "tasks": sum(map(len, evidence.tasks.values()))}),
        "uploads by their tasks": counts,
        "ambiguous submits": Counter({"all": ambiguous, "sent again": again}),
    }
    return finding


def the_days_are_counted(evidence: Evidence) -> Finding:
    """The ledger's counters hold every attempt that created a task or may have, and no other."""
    finding = Finding("6. the day's counters count what may have been paid for")
    paid = sum(
        len(row.get("earlier", [])) + bool(row.get("task_id") or row.get("outcome", {}).get("may_have_cost"))
        for row in evidence.rows.values()
    )
    counted = sum(evidence.days.values())
    if paid != counted:
        finding.broken.append(f"{paid} attempts may have been paid for, {counted} are counted")
    finding.figures = {"attempts": Counter({"perhaps paid for": paid, "counted": counted})}
    return finding


def _after_ambiguity(upload: Upload, evidence: Evidence, run: Run) -> tuple[list[str], int]:
    """What follows a submit that may have been accepted: nothing may."""
    row = evidence.rows.get(upload.version_id, {})
    known = {row.get("task_id"), *(one.get("task_id") for one in row.get("earlier", []))}
    submits = evidence.submits.get(upload.version_id, [])
    ambiguous = [
        place
        for place, submit in enumerate(submits)
        if _is_ambiguous(submit["fault"]) or (submit["task_id"] and submit["task_id"] not in known)
    ]
    later = [place for place in ambiguous if place < len(submits) - 1]
    problems = [f"sent again after an ambiguous submit ({submits[place]['fault']})" for place in later]
    # A claim whose POST was never sent; whoever finds it can't know that.
    killed = upload.version_id in run.faults.struck.get(BEFORE_POST, ())
    if (ambiguous or killed) and row.get("status") != "unknown":
        problems.append(f"an ambiguous submit, but its row says {row.get('status')}")
    return problems, len(ambiguous) + (killed and not ambiguous)


def _is_ambiguous(fault: Json | None) -> bool:
    if fault is None:
        return False
    if fault["kind"] != "http":
        return True
    return bool(fault["status"] == 500 or (fault["status"] == 503 and fault["body"] != "error"))


def _given_up(upload: Upload, evidence: Evidence) -> Iterator[str]:
    tasks = evidence.tasks.get(upload.version_id, [])
    row = evidence.rows.get(upload.version_id, {})
    code = (row.get("outcome") or {}).get("code")
    if row.get("status") == "failed" and code in RETRYABLE and len(tasks) < MOST_TASKS:
        yield f"given up after {len(tasks)} tasks, though {code} is worth another try"


def _failed_for_a_passing_reason(task: Json) -> bool:
    return bool(task["status"] == "failed" and task["error"]["code"] in RETRYABLE)


def the_books_balance(run: Run, evidence: Evidence) -> Finding:
    """Every charge of the enhancer is in the ledger, or belongs to an upload that is `unknown`."""
    finding = Finding("2. the ledger's charges are the enhancer's")
    charged = {task["id"]: task for tasks in evidence.tasks.values() for task in tasks}
    booked = {
        str(attempt["task_id"]): attempt.get("credits")
        for row in evidence.rows.values()
        for attempt in (row, *row.get("earlier", []))
        if attempt.get("task_id")
    }
    finding.broken += [f"{task_id}: booked, never created" for task_id in booked.keys() - charged.keys()]
    for task_id, credits in booked.items():
        if task_id in charged and credits != charged[task_id]["credits"]:
            finding.broken.append(f"{task_id}: booked {credits}, charged {charged[task_id]['credits']}")
    unbooked = [task for task_id, task in charged.items() if task_id not in booked]
    for task in unbooked:
        if _status(evidence, task["version_id"]) != "unknown":
            finding.broken.append(f"{task['id']}: charged, not booked, and its upload is not unknown")
    known, unknown = sum(map(int, booked.values())), sum(task["credits"] for task in unbooked)
    if known + unknown != evidence.used:
        finding.broken.append(f"{known} booked and {unknown} unknown, but {evidence.used} charged")
    finding.figures = {
        "credits": Counter({"in the ledger": known, "of unknown uploads": unknown, "charged": evidence.used})
    }
    return finding


def the_newest_wins(run: Run, evidence: Evidence) -> Finding:
    """The newest of a key's photos is the current object; superseded uploads are older than one of them."""
    finding = Finding("3. the newest upload of each key is the one in the output bucket")
    keys: dict[str, list[str]] = {}
    for upload in run.uploads:
        keys.setdefault(upload.key, []).append(upload.version_id)
    several = 0
    for key, versions in keys.items():
        several += sum(_status(evidence, version) == "enhanced" for version in versions) > 1
        finding.broken += [f"{key}: {problem}" for problem in _not_the_newest(versions, evidence)]
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


def _not_the_newest(versions: list[str], evidence: Evidence) -> Iterator[str]:
    """What is wrong with the photos of one key; `versions` are its uploads, the oldest first."""
    written = [(version, output.place) for version in versions for output in evidence.outputs.get(version, [])]
    places = [place for _, place in written]
    if places != sorted(places, reverse=True):
        yield "an older photo was written over a newer one, at least for a while"
    # Not the newest that is `enhanced`: the owner may have stopped the execution of one that was delivered.
    newest = written[-1][0] if written else None
    if newest and (newest, 0) not in written:
        yield f"its newest photo {newest} is not the current object"
    later = versions[versions.index(newest) :] if newest else versions
    if any(_status(evidence, version) == "superseded" for version in later):
        yield "superseded by no newer photo"


def _status(evidence: Evidence, version_id: str) -> str:
    return str(evidence.rows.get(version_id, {}).get("status"))


def only_crashes_are_dead(run: Run, evidence: Evidence) -> Finding:
    """The dead-letter queue holds what was made to crash five times."""
    finding = Finding("4. the dead-letter queue holds only what was made to crash five times")
    crashes = run.faults.crashes
    copies = Counter(evidence.dead)
    for version_id, count in copies.items():
        if crashes[version_id] < count * MOST_RECEIVES:
            finding.broken.append(f"{version_id}: {count} messages, but made to crash {crashes[version_id]} times")
    # They were sent again since; how they ended then is in 1.
    finding.figures = {
        "in the dead-letter queue": Counter({"messages": len(evidence.dead), "uploads": len(copies)}),
        "crashes": Counter({"all": sum(crashes.values()), "uploads that had one": len(+crashes)}),
    }
    return finding


def no_secret_is_told(run: Run, evidence: Evidence, key: str) -> Finding:
    """No log line, workflow state, report, ledger row or message contains a signature, a link or the key."""
    finding = Finding("7. no signature, token or key anywhere")
    secrets = re.compile("|".join(map(re.escape, [key, *run.faults.signatures])))
    for place, texts in evidence.texts.items():
        for text in texts:
            found = secrets.search(text) or _SECRET.search(text)
            if found:
                start = max(0, found.start() - 60)
                finding.broken.append(f"{place}: …{text[start : found.end()]}…")
    finding.figures = {
        "searched for": Counter({"keys": 1, "signatures that were in use": len(run.faults.signatures)}),
        "texts": Counter({place: len(texts) for place, texts in evidence.texts.items()}),
        "their characters": Counter({place: sum(map(len, texts)) for place, texts in evidence.texts.items()}),
    }
    return finding


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
