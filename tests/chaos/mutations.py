"""`python -m tests.chaos.mutations`: one-line changes that break the code, each of which the suite must catch.

The command applies each mutation to a copy of the repository and runs one part of the suite there, which must fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
COPIED = (
    "functions",
    "layers",
    "sandbox",
    "statemachines",
    "tests",
    "template.yaml",
    "monitoring.yaml",
    "pyproject.toml",
)
PATIENCE = 240
# The suite gives up after PATIENCE by itself; the rest is for its start and its checks.
MOST_SECONDS = 3 * PATIENCE

LEDGER = "layers/lumendrop/ledger.py"
SUBMIT = "functions/submit/app.py"
DELIVER = "functions/deliver/app.py"
STORAGE = "layers/lumendrop/storage.py"
ENHANCER = "layers/lumendrop/enhancer.py"
TEMPLATE = "template.yaml"
WORKFLOW = "statemachines/enhance.asl.yaml"

RANDOM_FAULTS = ("--only", "random-faults", "--uploads", "80", "--keys", "60")
STOPPED_EXECUTIONS = ("--only", "stopped-executions", "--uploads", "120")
CONCURRENT_OVERWRITES = ("--only", "concurrent-overwrites", "--uploads", "480")
REPEATED_FAILURES = ("--only", "repeated-failures", "--uploads", "120")
AMBIGUOUS_SUBMITS = ("--only", "ambiguous-submits", "--uploads", "120")
EMPTY_BALANCE = ("--only", "empty-balance", "--uploads", "300")
DAILY_LIMIT = ("--only", "daily-limit", "--uploads", "150")


@dataclass(frozen=True)
class Mutation:
    """Replaces `old` by `new` in `file`; the suite, run with `arguments`, must then report `promise` as broken."""

    name: str
    promise: str
    file: str
    old: str
    new: str
    arguments: Sequence[str] = RANDOM_FAULTS


MUTATIONS = (
    Mutation(
        "a claim overwrites an existing row",
        "paid once",
        LEDGER,
        '"ConditionExpression": "attribute_not_exists(pk)",',
        '"ConditionExpression": "attribute_not_exists(nothing)",',
    ),
    Mutation(
        "an ambiguous submit is released and repeated",
        "paid once",
        SUBMIT,
        "        return mark_unknown(claim, error.message, message)",
        "        LEDGER.release(claim, previous); raise Deferred(error.code, error.message) from None",
    ),
    Mutation(
        "the upload of a dead claimant is submitted again",
        "paid once",
        SUBMIT,
        '        return mark_unknown(row, "The function that claimed the upload '
        'ended before it recorded the answer.", message)',
        '        LEDGER.release(row); raise Deferred("claimed", "its claim has expired")',
    ),
    Mutation(
        "a task is not recorded",
        "paid once",
        LEDGER,
        "        return self._put_or_read(row, claim)\n\n    def finish_claim",
        "        return row\n\n    def finish_claim",
    ),
    Mutation(
        "failed tasks are retried thirty times",
        "paid once",
        WORKFLOW,
        "$poll.retryable and $attempt < 3 %}",
        "$poll.retryable and $attempt < 30 %}",
        REPEATED_FAILURES,
    ),
    Mutation(
        "an ambiguous submit is repeated without limit",
        "paid once",
        LEDGER,
        " and retry_ambiguous and all(one.task_id for one in self.earlier):",
        " and retry_ambiguous:",
        AMBIGUOUS_SUBMITS,
    ),
    Mutation(
        "each start of an execution has a new name",
        "one end each",
        "layers/lumendrop/workflow.py",
        "-{row.upload.correlation_id}-{row.attempt}",
        "-{__import__('uuid').uuid4().hex}-{row.attempt}",
    ),
    Mutation(
        "a requeued message is deleted without a copy",
        "nothing lost",
        "layers/lumendrop/upload_queue.py",
        "    client.send_message(",
        "    _ = dict(",
    ),
    Mutation(
        "a requeued message is not deleted",
        "only crashes in the dead-letter queue",
        SUBMIT,
        'extra=extra | {"requeue_count": message.requeue_count + 1})\n        return',
        'extra=extra | {"requeue_count": message.requeue_count + 1})\n        raise',
        EMPTY_BALANCE,
    ),
    Mutation(
        "the dead-letter queue receives messages after one crash",
        "only crashes in the dead-letter queue",
        TEMPLATE,
        "maxReceiveCount: 5",
        "maxReceiveCount: 1",
    ),
    Mutation(
        "executions that end early are ignored",
        "nothing lost",
        TEMPLATE,
        "status: [ABORTED, TIMED_OUT, FAILED]",
        "status: [NOTHING]",
        STOPPED_EXECUTIONS,
    ),
    Mutation(
        "the deadline never passes",
        "nothing lost",
        WORKFLOW,
        '"{% $millis() >= $task.deadline * 1000 %}"',
        '"{% $millis() >= $task.deadline * 1000000 %}"',
    ),
    Mutation(
        "a delivery is not recorded",
        "one end each",
        WORKFLOW,
        "        Next: RecordEnhanced\n",
        "        Next: PublishEnhanced\n",
    ),
    Mutation(
        "a failure is not reported",
        "one end each",
        WORKFLOW,
        '          report_key: "{% $states.input.report_key %}"\n        Output: {}\n        Next: WriteReport\n',
        '          report_key: "{% $states.input.report_key %}"\n        Output: {}\n        Next: RecordNotEnhanced\n',
    ),
    Mutation(
        "truncated results are delivered",
        "one end each",
        DELIVER,
        "    if not images.is_complete(download.path, format_):",
        "    if False:",
    ),
    Mutation(
        "the older upload counts as the newer one",
        "the newest wins",
        "layers/lumendrop/uploads.py",
        'return sequencer.upper().ljust(width, "0") > other',
        'return sequencer.upper().ljust(width, "0") < other',
        CONCURRENT_OVERWRITES,
    ),
    Mutation(
        "results are written without a condition",
        "the newest wins",
        STORAGE,
        "            **condition,\n",
        "",
        CONCURRENT_OVERWRITES,
    ),
    Mutation(
        "the circuit breaker never opens",
        "few calls without balance",
        "layers/lumendrop/circuit_breaker.py",
        "        return self._reason if self._now() < self._until else None",
        "        return None",
        EMPTY_BALANCE,
    ),
    Mutation(
        "an empty balance fails the photo",
        "no photo failed without balance",
        ENHANCER,
        "        if status in (401, 402, 403) or",
        "        if status == 402: return Refused(code, text)\n        if status in (401, 403) or",
        EMPTY_BALANCE,
    ),
    Mutation(
        "the daily limit is not checked",
        "the daily limit",
        LEDGER,
        '"attribute_not_exists(tasks) OR tasks < :limit"',
        '"attribute_not_exists(nothing) OR tasks < :limit"',
        DAILY_LIMIT,
    ),
    Mutation(
        "a released claim does not reduce the daily counter",
        "the daily limit",
        LEDGER,
        "        self._transact(undo, self._count(claim, -1))",
        "        self._transact(undo)",
        DAILY_LIMIT,
    ),
    Mutation(
        "URLs that the vendor quotes are not redacted",
        "no secret exposed",
        ENHANCER,
        'return _CONTROL.sub(" ", redact(text))[:500]',
        'return _CONTROL.sub(" ", text)[:1500]',
    ),
    Mutation(
        "an API key that the vendor quotes is not redacted",
        "no secret exposed",
        ENHANCER,
        'text = text.replace(self._key.read(), "[key]")',
        "self._key.read()",
    ),
)


def apply(mutation: Mutation, folder: Path) -> None:
    """Changes a copy of the repository; raises ValueError unless `old` occurs exactly once."""
    file = folder / mutation.file
    text = file.read_text()
    if (count := text.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.name!r}: {mutation.file} contains {mutation.old!r} {count} times, not once")
    file.write_text(text.replace(mutation.old, mutation.new))


def caught(mutation: Mutation) -> list[str]:
    """The promises that the suite reports as broken in a copy with this mutation; empty if it passes."""
    with tempfile.TemporaryDirectory(prefix="lumendrop-mutation-") as folder:
        _copy_repository(Path(folder))
        apply(mutation, Path(folder))
        command = [sys.executable, "-m", "tests.chaos", *mutation.arguments, "--patience", str(PATIENCE)]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    broken = list(dict.fromkeys(line.split(" BROKEN: ")[1] for line in run.stdout.splitlines() if " BROKEN: " in line))
    if run.returncode and not broken:
        return [run.stderr.strip().splitlines()[-1]]
    return broken


def _copy_repository(folder: Path) -> None:
    for name in COPIED:
        source = REPO / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def _is_caught(mutation: Mutation) -> bool:
    begun = time.monotonic()
    broken = caught(mutation)
    verdict = "; ".join(broken) or "NOT CAUGHT"
    print(f"{mutation.name} | {mutation.promise} | {verdict} | {time.monotonic() - begun:.0f} s", flush=True)
    return bool(broken)


def main() -> int:
    """Prints the promises that each mutation broke; 0 if every mutation was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="run the mutations whose name contains this text")
    wanted = [mutation for mutation in MUTATIONS if parser.parse_args().only in mutation.name]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        missed = len(wanted) - sum(workers.map(_is_caught, wanted))
    print(f"{len(wanted) - missed} of {len(wanted)} mutations caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
