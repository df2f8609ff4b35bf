"""`python -m tests.chaos.mutations`: one-line breaks of the code, each of which the suite must catch.

Each is made in a copy of the repository, where a part of the suite then has to fail.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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
# Enough for the suite to give up by itself, and to start and judge.
MOST_SECONDS = 3 * PATIENCE

LEDGER = "layers/lumendrop/ledger.py"
SUBMIT = "functions/submit/app.py"
DELIVER = "functions/deliver/app.py"
STORAGE = "layers/lumendrop/storage.py"
ENHANCER = "layers/lumendrop/enhancer.py"
TEMPLATE = "template.yaml"
WORKFLOW = "statemachines/enhance.asl.yaml"

STORM = ("--only", "storm", "--uploads", "80", "--keys", "60")
# So small a storm has few executions that the owner stops before they end, and some storms have none.
STORMS = (*STORM, "--seeds", "6", "--jobs", "3")
RIVALS = ("--only", "rivals", "--uploads", "480")
RELAPSES = ("--only", "relapses", "--uploads", "120")
SECOND_CHANCES = ("--only", "second-chances", "--uploads", "120")
BALANCE = ("--only", "balance", "--uploads", "300")
DAILY_LIMIT = ("--only", "daily-limit", "--uploads", "150")


@dataclass(frozen=True)
class Mutation:
    """`old` in `file` becomes `new`; the suite, run with `arguments`, must then find `promise` broken."""

    name: str
    promise: str
    file: str
    old: str
    new: str
    arguments: Sequence[str] = STORM


MUTATIONS = (
    Mutation(
        "a claim overwrites the row there is",
        "paid once",
        LEDGER,
        '"ConditionExpression": "attribute_not_exists(pk)",',
        '"ConditionExpression": "attribute_not_exists(nothing)",',
    ),
    Mutation(
        "an ambiguous submit is released and sent again",
        "paid once",
        SUBMIT,
        "        return mark_unknown(claim, error.message, message)",
        "        LEDGER.release(claim, previous); raise Deferred(error.code, error.message) from None",
    ),
    Mutation(
        "a dead claimant's upload is sent again",
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
        "failed tasks are tried again thirty times",
        "paid once",
        WORKFLOW,
        "$poll.retryable and $attempt < 3 %}",
        "$poll.retryable and $attempt < 30 %}",
        RELAPSES,
    ),
    Mutation(
        "an ambiguous submit is sent again without end",
        "paid once",
        LEDGER,
        " and retry_ambiguous and all(one.task_id for one in self.earlier):",
        " and retry_ambiguous:",
        SECOND_CHANCES,
    ),
    Mutation(
        "an execution's name is new each time",
        "one end each",
        "layers/lumendrop/workflow.py",
        "-{row.upload.correlation_id}-{row.attempt}",
        "-{__import__('uuid').uuid4().hex}-{row.attempt}",
    ),
    Mutation(
        "uploads to wait are acknowledged without a copy",
        "nothing lost",
        "layers/lumendrop/upload_queue.py",
        "    client.send_message(",
        "    _ = dict(",
    ),
    Mutation(
        "uploads to wait are not acknowledged",
        "only crashes are dead",
        SUBMIT,
        'extra=extra | {"requeue_count": message.requeue_count + 1})\n        return',
        'extra=extra | {"requeue_count": message.requeue_count + 1})\n        raise',
        BALANCE,
    ),
    Mutation(
        "one crash is enough for the dead-letter queue",
        "only crashes are dead",
        TEMPLATE,
        "maxReceiveCount: 5",
        "maxReceiveCount: 1",
    ),
    Mutation(
        "nobody sees executions that end early",
        "nothing lost",
        TEMPLATE,
        "status: [ABORTED, TIMED_OUT, FAILED]",
        "status: [NOTHING]",
        STORMS,
    ),
    Mutation(
        "the deadline never comes",
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
        "results cut short are delivered",
        "one end each",
        DELIVER,
        "    if not images.is_complete(download.path, format_):",
        "    if False:",
    ),
    Mutation(
        "the older upload counts as the newer",
        "the newest wins",
        "layers/lumendrop/uploads.py",
        'return sequencer.upper().ljust(width, "0") > other',
        'return sequencer.upper().ljust(width, "0") < other',
        RIVALS,
    ),
    Mutation(
        "results are written without a condition",
        "the newest wins",
        STORAGE,
        "            **condition,\n",
        "",
        RIVALS,
    ),
    Mutation(
        "the breaker never opens",
        "blocked calls",
        "layers/lumendrop/circuit_breaker.py",
        "        return self._reason if self._now() < self._until else None",
        "        return None",
        BALANCE,
    ),
    Mutation(
        "trouble with the balance is the photo's fault",
        "blocked, not failed",
        ENHANCER,
        "        if status in (401, 402, 403) or",
        "        if status == 402: return Refused(code, words)\n        if status in (401, 403) or",
        BALANCE,
    ),
    Mutation(
        "the day's tasks are not limited",
        "the daily limit",
        LEDGER,
        '"attribute_not_exists(tasks) OR tasks < :limit"',
        '"attribute_not_exists(nothing) OR tasks < :limit"',
        DAILY_LIMIT,
    ),
    Mutation(
        "the day does not get a released task back",
        "the daily limit",
        LEDGER,
        "        self._transact(undo, self._count(claim, -1))",
        "        self._transact(undo)",
        DAILY_LIMIT,
    ),
    Mutation(
        "URLs that the vendor quotes are kept",
        "no secret told",
        ENHANCER,
        'return _CONTROL.sub(" ", redact(text))[:500]',
        'return _CONTROL.sub(" ", text)[:1500]',
    ),
    Mutation(
        "the key that the vendor quotes is kept",
        "no secret told",
        ENHANCER,
        'text = text.replace(self._key.read(), "[key]")',
        "self._key.read()",
    ),
)


def _mutated(mutation: Mutation, folder: Path) -> None:
    for name in COPIED:
        source = REPO / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    file = folder / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise SystemExit(
            f"{mutation.file} has {mutation.old!r} {text.count(mutation.old)} times: mend {mutation.name!r}"
        )
    file.write_text(text.replace(mutation.old, mutation.new))


def caught(mutation: Mutation) -> list[str]:
    """The promises that the suite finds broken in a copy with this mutation; empty if it does not notice."""
    with tempfile.TemporaryDirectory(prefix="lumendrop-mutation-") as folder:
        _mutated(mutation, Path(folder))
        command = [sys.executable, "-m", "tests.chaos", *mutation.arguments, "--patience", str(PATIENCE)]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    broken = list(dict.fromkeys(line.split(" BROKEN: ")[1] for line in run.stdout.splitlines() if " BROKEN: " in line))
    if run.returncode and not broken:
        return [run.stderr.strip().splitlines()[-1]]
    return broken


def main() -> int:
    """Prints, for each mutation, what caught it; 0 if everything was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="only mutations whose name contains this")
    wanted = [mutation for mutation in MUTATIONS if parser.parse_args().only in mutation.name]
    missed = 0
    for mutation in wanted:
        begun = time.monotonic()
        broken = caught(mutation)
        missed += not broken
        verdict = "; ".join(broken) or "NOT CAUGHT"
        print(f"{mutation.name} | {mutation.promise} | {verdict} | {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{len(wanted) - missed} of {len(wanted)} mutations caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
