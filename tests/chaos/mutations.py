"""`python -m tests.chaos.mutations`: one-line changes that break the code, each of which the suite must catch.

The command applies each mutation to a copy of the repository and runs one part of the suite there, or some of the other
tests, which must fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
COPIED = (
    "cli",
    "docs",
    "events",
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
TASK_CREATION = "layers/lumendrop/task_creation.py"
DELIVER = "functions/deliver/app.py"
STORAGE = "layers/lumendrop/storage.py"
ENHANCER = "layers/lumendrop/enhancer.py"
DECISIONS = "layers/lumendrop/decisions.py"
RATE_LIMITER = "layers/lumendrop/rate_limiter.py"
THROTTLE = "layers/lumendrop/throttle.py"
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
    """Replaces `old` by `new` in `file`; the suite, run with `arguments`, must then report `promise` as broken.

    With `tests`, these tests must fail instead.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    arguments: Sequence[str] = RANDOM_FAULTS
    tests: Sequence[str] = ()


MUTATIONS = (
    Mutation(
        "a claim overwrites an existing row",
        "paid once",
        LEDGER,
        '"ConditionExpression": "attribute_not_exists(pk)",',
        '"ConditionExpression": "attribute_not_exists(nothing)",',
        tests=("tests/model/test_explorer.py::test_the_promises_hold_in_every_state",),
    ),
    Mutation(
        "an ambiguous submit is released and repeated",
        "paid once",
        TASK_CREATION,
        "                return self.mark_unknown(claim, error.message, message)",
        "                self.ledger.release(claim, previous); raise Deferred(error.code, error.message) from None",
    ),
    Mutation(
        "the upload of a dead claimant is submitted again",
        "paid once",
        SUBMIT,
        "                row = TASKS.mark_unknown(",
        '                LEDGER.release(expired); raise Deferred("claimed", "its claim has expired"); _ = (',
    ),
    Mutation(
        "a task is not recorded",
        "paid once",
        LEDGER,
        "        found = self._retried(lambda: self._put_or_read(row, claim), until)\n",
        "        found = row\n",
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
        '        skip("enhanced photo")\n    except upload_queue.WAITS as error:\n'
        "        requeue(message, upload_queue.defer(error))\n",
        '        skip("enhanced photo")\n    except upload_queue.WAITS as error:\n'
        "        requeue(message, upload_queue.defer(error))\n        raise\n",
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
        "$delivery.state = 'enhanced' %}\"\n        Next: RecordEnhanced\n",
        "$delivery.state = 'enhanced' %}\"\n        Next: PublishEnhanced\n",
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
        "            return containers.examine(FileReader(file, download.bytes))\n",
        "            return containers.Image(images.detect(head) or images.JPEG)\n",
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
        "**carried.arguments,\n                **condition,\n",
        "**carried.arguments,\n",
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
        "        self._transact(undo, self._count(claim, -1), until=until)",
        "        self._transact(undo, until=until)",
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
    Mutation(
        "an ambiguous answer does not pause the functions",
        "few unknown in an outage",
        TASK_CREATION,
        "                self.throttle.on_ambiguous()",
        "                pass",
        tests=("tests/unit/test_interruptions.py::test_an_outage_puts_few_photos_at_risk",),
    ),
    Mutation(
        "pauses after ambiguous answers do not grow",
        "few unknown in an outage",
        RATE_LIMITER,
        "            growing = _FIRST_PAUSE_SECONDS * (2 ** min(unclear - 1, 10) - 1)",
        "            growing = 0",
        tests=("tests/unit/test_rate_limiter.py::test_pauses_after_ambiguous_answers_grow_to_15_minutes",),
    ),
    Mutation(
        "no free request precedes the next photo",
        "few unknown in an outage",
        THROTTLE,
        "        if self._limiter.must_probe:\n            self._probe()",
        "        pass",
        tests=("tests/unit/test_throttle.py",),
    ),
    Mutation(
        "a 502 counts as not created",
        "paid once",
        ENHANCER,
        "        return Ambiguous(code, text)",
        "        return Unavailable(code, text, retry_after=retry_after)",
        tests=("tests/unit/test_submit.py::test_an_ambiguous_answer_is_unknown_and_never_resubmitted",),
    ),
    Mutation(
        "the row is not read first",
        "one end each",
        SUBMIT,
        "        match decide(upload, row, photo, message,",
        "        match decide(upload, row if isinstance(photo, Photo) else None, photo, message,",
        tests=(
            "tests/unit/test_interruptions.py::test_a_retry_whose_photo_is_gone_ends_as_its_last_attempt",
            "tests/unit/test_interruptions.py::test_an_expired_claim_whose_photo_is_gone_becomes_unknown",
            "tests/model/test_explorer.py::test_the_promises_hold_in_every_state",
        ),
    ),
    Mutation(
        "a workflow starts for a claim in progress",
        "one end each",
        DECISIONS,
        '    return Wait("claimed", "another run is submitting this upload", expires - now + 1)',
        "    return StartWorkflow(row)",
        tests=(
            "tests/unit/test_submit.py::test_a_claim_that_may_be_in_use_is_waited_for",
            "tests/model/test_explorer.py::test_the_promises_hold_in_every_state",
        ),
    ),
    Mutation(
        "a retry that can't be sent has no end",
        "one end each",
        DECISIONS,
        '        return EndRetry(row, row.outcome or outcomes.outcome("retry_not_sent"))',
        '        return Skip("already ended")',
        tests=(
            "tests/unit/test_interruptions.py::test_a_retry_whose_photo_is_gone_ends_as_its_last_attempt",
            "tests/model/test_explorer.py::test_the_promises_hold_in_every_state",
        ),
    ),
    Mutation(
        "the ID of a paid task is not logged",
        "paid once",
        TASK_CREATION,
        '    logger.info("task created", extra={"task_id": task.id, ',
        '    logger.info("task created", extra={',
        tests=(
            "tests/unit/test_interruptions.py::test_without_ledger_and_queue_the_message_comes_back_and_the_log_has_the_task",
        ),
    ),
    Mutation(
        "the record of a task is not repeated",
        "paid once",
        LEDGER,
        "                is_last = attempt + 1 >= _TRIES if until is None else self._now() + pause >= until",
        "                is_last = True",
        tests=("tests/unit/test_interruptions.py::test_recording_is_repeated",),
    ),
    Mutation(
        "a task that could not be recorded is not in the message",
        "paid once",
        TASK_CREATION,
        'f"{type(error).__name__}: {error}", task=task) from None',
        'f"{type(error).__name__}: {error}") from None',
        tests=(
            "tests/unit/test_interruptions.py::test_a_task_that_cannot_be_recorded_travels_with_its_message",
            "tests/model/test_explorer.py::test_the_promises_hold_in_every_state",
        ),
    ),
    Mutation(
        "every copy of a requeued message continues",
        "paid once",
        "layers/lumendrop/upload_queue.py",
        "        return ledger.take_requeue(message.chain, message.requeue_count + 1, message.message_id)",
        "        return True",
        tests=(
            "tests/unit/test_interruptions.py::test_of_several_copies_of_a_message_one_continues",
            "tests/unit/test_interruptions.py::test_sqs_that_takes_a_message_and_never_answers_does_not_multiply_it",
        ),
    ),
    Mutation(
        "an HTML 404 ends a paid task",
        "one end each",
        ENHANCER,
        "        if answer.status == 404 and answer.is_api_error:",
        "        if answer.status == 404:",
        tests=("tests/unit/test_check_status.py::test_an_unusable_answer_does_not_mean_a_failed_task",),
    ),
    Mutation(
        "a truncated HEIC counts as whole",
        "one end each",
        "layers/lumendrop/containers/heif.py",
        "        if one.method == 0 and not one.is_external and one.end > reader.size:\n",
        "        if False:\n",
        tests=(
            "tests/unit/test_containers.py::test_a_cut_file_is_truncated_wherever_libvips_says_so",
            "tests/unit/test_containers.py::test_what_the_bytes_rule_out",
        ),
    ),
    Mutation(
        "source buckets are not compared",
        "foreign objects untouched",
        STORAGE,
        '        return metadata["source-bucket"] == upload.bucket\n',
        "        return True\n",
        tests=("tests/unit/test_deliver.py::test_two_buckets_with_one_output_bucket_both_keep_their_photos",),
    ),
    Mutation(
        "a foreign object is replaced",
        "foreign objects untouched",
        STORAGE,
        "            key, existing = next(keys, key), None\n",
        "            pass\n",
        tests=("tests/unit/test_deliver.py::test_a_foreign_object_is_never_replaced",),
    ),
    Mutation(
        "an enhanced photo is enhanced again",
        "foreign objects untouched",
        STORAGE,
        "        raise OwnResult\n",
        "        pass\n",
        tests=("tests/unit/test_inspect.py::test_a_result_that_was_copied_into_the_input_bucket_is_recognized",),
    ),
    Mutation(
        "the same photo is paid for again",
        "paid once",
        DECISIONS,
        "    if twin is None or message.pay_again:",
        "    if True:",
        tests=("tests/unit/test_same_photo.py::test_another_key_gets_a_copy",),
    ),
    Mutation(
        "two uploads of the same photo pay at the same moment",
        "paid once",
        LEDGER,
        "        held = [self._hold(photo, row, holder)] if photo else []",
        "        held: list[dict[str, Any]] = []",
        tests=(
            "tests/unit/test_same_photo.py::test_two_that_look_at_the_same_moment_pay_once",
            "tests/model/test_explorer.py::test_the_promises_hold_in_every_state",
        ),
    ),
    Mutation(
        "a claim that was released and repeated counts as unchanged",
        "paid once",
        LEDGER,
        "            held.append(self._unchanged(holder, holder_row))\n",
        "            pass\n",
        tests=("tests/unit/test_same_photo.py::test_two_pay_once_if_one_claims_again",),
    ),
    Mutation(
        "the bucket is missing in the ledger's key",
        "foreign objects untouched",
        LEDGER,
        "{self.upload.bucket}/{self.upload.key}",
        "{self.upload.key}",
        tests=("tests/unit/test_submit.py::test_the_same_key_and_version_in_another_bucket_is_another_upload",),
    ),
    Mutation(
        "the report of an older version is kept",
        "one end each",
        "layers/lumendrop/reports.py",
        "        if not storage.is_of_newer_upload(client, about.version_id, about.sequencer, upload):",
        "        if about.version_id == upload.version_id:",
        tests=("tests/unit/test_deliver.py::test_a_photo_removes_the_reports_of_its_and_all_older_versions",),
    ),
    Mutation(
        "escape sequences are printed",
        "a clean terminal",
        "cli/lumendrop_cli/text.py",
        '    return "".join(_escape(one) if _is_unsafe(one) else one for one in text)',
        "    return text",
        tests=("tests/cli/test_output.py::test_hostile_text_is_cleaned_and_json_keeps_it",),
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
        if mutation.tests:
            command = _pytest(mutation.tests)
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    broken = list(dict.fromkeys(line.split(" BROKEN: ")[1] for line in run.stdout.splitlines() if " BROKEN: " in line))
    if mutation.tests:
        return [line for line in run.stdout.splitlines() if line.startswith("FAILED ")]
    if run.returncode and not broken:
        return [run.stderr.strip().splitlines()[-1]]
    return broken


def _pytest(tests: Iterable[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", "--quiet", "--exitfirst", "--no-header", *tests]


def failures_without_mutation(mutations: Iterable[Mutation]) -> str:
    """The output of the mutations' tests in an unchanged copy if one fails there: then a failure proves nothing."""
    tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
    with tempfile.TemporaryDirectory(prefix="lumendrop-unchanged-") as folder:
        _copy_repository(Path(folder))
        run = subprocess.run(_pytest(tests), cwd=folder, capture_output=True, text=True, check=False) if tests else None
    return run.stdout if run and run.returncode else ""


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
    parser.add_argument(
        "--only", nargs="*", default=[""], help="run the mutations whose name contains one of these texts"
    )
    texts = parser.parse_args().only
    wanted = [mutation for mutation in MUTATIONS if any(text in mutation.name for text in texts)]
    if failures := failures_without_mutation(wanted):
        print(failures)
        print("Nothing is verified: these tests fail in an unchanged copy of the repository.")
        return 1
    print("An unchanged copy of the repository passes all tests of these mutations.", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        missed = len(wanted) - sum(workers.map(_is_caught, wanted))
    print(f"{len(wanted) - missed} of {len(wanted)} mutations caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
