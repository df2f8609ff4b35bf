"""`lumendrop verify`: confirms on a live stack what no emulator can confirm, with one photo."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from botocore.exceptions import BotoCoreError

from lumendrop_cli import cost, ledger_index, polling
from lumendrop_cli.errors import FAILURE, CliError, describe, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.photo_files import sha256_of
from lumendrop_cli.printer import Line, Progress, printer
from lumendrop_cli.selection import DryRunOption, TimeoutOption
from lumendrop_cli.smoke import (
    built_in_photo,
    check_acceptable,
    check_result,
    upload,
    wait_for_events,
    wait_for_result,
)
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import to_json
from lumendrop_cli.workflow import correlation_id, execution_arn

Verdict = Literal["confirmed", "refuted", "not checked"]
_COLORS = {"confirmed": "green", "refuted": "red", "not checked": "yellow"}
# Characters that a URL, XML, or a shell would change, in composed and decomposed form.
_ODD = "lumendrop-verify/a b+c%41 \u00e9 e\u0301 &=~'()"
_INDEX_SECONDS = 30
_MOST_REPORT_BYTES = 1_000_000
_LOG_SECONDS = 120
_METRIC_SECONDS = 300
_EXECUTION_SECONDS = 60
_LOGS = ("SubmitLogs", "CheckStatusLogs", "DeliverLogs")
_WINDOW = timedelta(minutes=15)
_PRIVATE = re.compile(r"\barn:\S+|(?<!\w)\d{12}(?!\w)")  # messages of AWS name accounts, roles, and people
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Evidence:
    """What the photo has left in the stack: its checksum, its row, and the heads of both objects."""

    stack: Stack
    sha256: str
    key: str
    row: Row
    source: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True)
class Assumption:
    """Something that only AWS can confirm.

    `command` shows it without this program, `expected` is what it prints. `check` returns what was observed, and
    whether that is as expected.
    """

    name: str
    assumption: str
    command: str
    expected: str
    check: Callable[[Evidence], tuple[bool, str]]


@dataclass(frozen=True)
class Checked:
    """The verdict about one assumption, and what was observed."""

    name: str
    verdict: Verdict
    assumption: str
    observed: str


def verify(
    context: typer.Context,
    report: Annotated[
        Path, typer.Option("--report", "-o", help="The file for the report.", dir_okay=False, metavar="FILE")
    ] = Path("lumendrop-verify.json"),
    timeout: TimeoutOption = 600,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Confirm on a live stack what no emulator can confirm. Pays for one task, and otherwise only reads.

    Writes a report that you can attach to an issue: it contains no key of a photo of yours, account ID, or secret.
    Exit code 1 if an assumption is refuted. docs/first-deployment.md lists all of them.
    """
    stack, out = load_stack(context), printer(context)
    body = built_in_photo()
    check_acceptable(stack, body)
    _check_writable(report)
    if dry_run:
        names = [one.name for one in ASSUMPTIONS]
        would = f"This would pay for {cost.describe(stack, 1)}, and check: {', '.join(names)}."
        out.result({"assumptions": names, "cost_usd": cost.cost_usd(stack, 1)}, [would])
        return
    if not yes:
        out.confirm(f"This pays for {cost.describe(stack, 1)}. Continue?")
    with out.progress("Waiting for EventBridge …") as progress:
        wait_for_events(stack, progress)
        key = f"{stack.parameter('InputPrefix')}{_ODD}{secrets.token_hex(4)}.png"
        with on_interrupt(f"{key} is still being processed, and may be paid for.", {"key": key}):
            try:
                evidence = _send(stack, key, body, timeout, progress)
            except CliError as error:
                reason = _PRIVATE.sub("…", str(error).replace(key, "the photo"))
                _write(report, to_json(_report(stack, []) | {"error": reason}))
                raise CliError(f"{error} The report is {report}.", error.code, error.data) from None
            checked = [_check(one, evidence, progress) for one in ASSUMPTIONS]
    data = _report(stack, checked)
    _write(report, to_json(data))
    out.result(data, [*map(_line, checked), f"The report is {report}. The photo and its result remain: {key}"])
    if any(one.verdict == "refuted" for one in checked):
        raise typer.Exit(FAILURE)


def _send(stack: Stack, key: str, body: bytes, timeout: int, progress: Progress) -> Evidence:
    progress(f"Uploading {key} …")
    version_id = upload(stack, key, body, ContentType="image/png", ChecksumAlgorithm="SHA256")
    row = wait_for_result(stack, key, version_id, timeout, progress)
    check_result(stack, row)
    s3, bucket, place = stack.client("s3"), stack.output("InputBucketName"), row["output"]
    return Evidence(
        stack,
        sha256_of([body]),
        key,
        row,
        s3.head_object(Bucket=bucket, Key=key, VersionId=version_id, ChecksumMode="ENABLED"),
        s3.head_object(Bucket=place["bucket"], Key=place["key"]),
    )


def _check(one: Assumption, evidence: Evidence, progress: Progress) -> Checked:
    """An error is no verdict about the assumption, and does not keep the others from being checked."""
    progress(f"Checking: {one.name} …")
    try:
        is_as_expected, observed = one.check(evidence)
    except Exception as error:  # noqa: BLE001  # the photo is paid for, so all that can be learned from it is
        reason = type(error).__name__ if isinstance(error, BotoCoreError) else str(describe(error))
        return Checked(one.name, "not checked", one.assumption, _PRIVATE.sub("…", reason))
    return Checked(one.name, "confirmed" if is_as_expected else "refuted", one.assumption, observed)


def _line(one: Checked) -> Line:
    return (f"{one.verdict:<11}", _COLORS[one.verdict]), (" ", ""), (one.name, "bold"), (f": {one.observed}", "")


def _report(stack: Stack, checked: list[Checked]) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": stack.outputs.get("Version"),
        "command_version": importlib.metadata.version("lumendrop"),
        "region": stack.client("s3").meta.region_name,
        "sandbox": stack.is_sandbox,
        "python": platform.python_version(),
        "refuted": sum(one.verdict == "refuted" for one in checked),
        "assumptions": [asdict(one) for one in checked],
    }


def _check_writable(path: Path) -> None:
    """Raises CliError before anything is paid. An earlier report stays until there is a new one."""
    try:
        # Not os.access, which knows nothing of the permissions of a folder on Windows.
        with path.open("ab") if path.exists() else tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise CliError(f"The report {path} can't be written: {reason}. Name another file with --report.") from None
    if path.is_file() and path.stat().st_size and not _is_report(path):
        raise CliError(f"{path} is not a report of verify, so it is not replaced. Name another file with --report.")


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            found = json.loads(opened.read(_MOST_REPORT_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= {"at", "python", "refuted", "assumptions"}


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"The report {path} can't be written: {error.strerror}.") from None


def _keys_as_they_are(evidence: Evidence) -> tuple[bool, str]:
    """`submit` logs it if it has to decode a key. The row has the decoded one."""
    found = polling.poll_until(lambda: _log_lines(evidence, "SubmitLogs") or None, _LOG_SECONDS)
    if not found:
        raise CliError("There is no line in the log of submit.")
    is_decoded = any('"key decoded"' in line for line in found)
    return not is_decoded, f"submit found the photo under {'the decoded' if is_decoded else 'its'} key"


def _versions_and_order(evidence: Evidence) -> tuple[bool, str]:
    """The row was found under the version ID that PutObject returned."""
    sequencer = evidence.row["sequencer"]
    is_hexadecimal = bool(re.fullmatch(r"[0-9A-Fa-f]+", sequencer))
    return is_hexadecimal, f"version ID equal, sequencer {sequencer or 'none'}"


def _checksum(evidence: Evidence) -> tuple[bool, str]:
    found = evidence.source.get("ChecksumSHA256")
    return found == evidence.sha256, f"S3 returns the checksum {found}"


def _metadata(evidence: Evidence) -> tuple[bool, str]:
    found = evidence.result["Metadata"]
    return found.get("correlation-id") == correlation_id(evidence.row), f"metadata {', '.join(sorted(found))}"


def _new_version(evidence: Evidence) -> tuple[bool, str]:
    written, found = evidence.row["output"].get("version_id"), evidence.result.get("VersionId")
    if not found:
        raise CliError("The output bucket has no versions.")
    return written == found, f"the row's version ID of the result is {'equal' if written == found else 'another'}"


def _execution(evidence: Evidence) -> tuple[bool, str]:
    states, arn = evidence.stack.client("stepfunctions"), execution_arn(evidence.stack, evidence.row)

    def ended() -> Any:
        described = states.describe_execution(executionArn=arn)
        return None if described["status"] == "RUNNING" else described

    found = polling.poll_until(ended, _EXECUTION_SECONDS)
    if found is None:
        raise CliError(f"The execution still runs after {_EXECUTION_SECONDS} seconds.")
    seconds = (found.get("stopDate", datetime.now(UTC)) - found["startDate"]).total_seconds()
    return found["status"] == "SUCCEEDED", f"{found['status']} after {seconds:.0f} seconds"


def _time_of_the_workflow(evidence: Evidence) -> tuple[bool, str]:
    found = str(evidence.row["finished_at"])
    return bool(_TIME.fullmatch(found)), f"finished_at is {found}"


def _index(evidence: Evidence) -> tuple[bool, str]:
    began = time.monotonic()
    wanted = Filter(since=datetime.now(UTC) - _WINDOW, prefix=evidence.key)

    def found() -> Row | None:
        return next((one for one in ledger_index.rows(evidence.stack, wanted)), None)

    row = polling.poll_until(found, _INDEX_SECONDS)
    seconds = time.monotonic() - began
    status = row["status"] if row else "no row"
    return status == "enhanced", f"{status} after {seconds:.0f} seconds"


def _logs(evidence: Evidence) -> tuple[bool, str]:
    found: dict[str, list[str]] = {}

    def complete() -> bool | None:
        found.update({group: _log_lines(evidence, group) for group in _LOGS})
        return all(found.values()) or None

    polling.poll_until(complete, _LOG_SECONDS)
    lacking = [group for group, lines in found.items() if not any(map(_is_object, lines))]
    if lacking:
        return False, f"no line of JSON with the correlation ID in {', '.join(lacking)}"
    return True, "each function has JSON lines of this upload"


def _log_lines(evidence: Evidence, group: str) -> list[str]:
    """The lines of a log group with the upload's correlation ID."""
    pages = evidence.stack.client("logs").get_paginator("filter_log_events")
    since = int((datetime.now(UTC) - _WINDOW).timestamp() * 1000)
    wanted = {"filterPattern": f'"{correlation_id(evidence.row)}"', "startTime": since}
    name = evidence.stack.resource(group)
    return [event["message"] for page in pages.paginate(logGroupName=name, **wanted) for event in page["events"]]


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _metric(evidence: Evidence) -> tuple[bool, str]:
    cloudwatch = evidence.stack.client("cloudwatch")

    def count() -> float | None:
        now = datetime.now(UTC)
        answer = cloudwatch.get_metric_statistics(
            Namespace=f"Lumendrop/{evidence.stack.name}",
            MetricName="PhotosEnhanced",
            Dimensions=[{"Name": "service", "Value": "deliver"}],
            StartTime=now - _WINDOW,
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )
        return sum(point["Sum"] for point in answer["Datapoints"]) or None

    found = polling.poll_until(count, _METRIC_SECONDS)
    return bool(found), f"PhotosEnhanced is {found or 0:.0f} in the last 15 minutes"


def _recovery(evidence: Evidence) -> tuple[bool, str]:
    table, dynamodb = evidence.stack.output("LedgerTableName"), evidence.stack.client("dynamodb")
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"]
    return (recovery, expiry) == ("ENABLED", "ENABLED"), f"point-in-time recovery {recovery}, time to live {expiry}"


ASSUMPTIONS = (
    Assumption(
        "keys",
        "EventBridge names the key as it is, and does not encode it as S3's own notifications do.",
        "aws logs filter-log-events --log-group-name SUBMIT_LOGS --filter-pattern '\"key decoded\"'",
        "no event",
        _keys_as_they_are,
    ),
    Assumption(
        "versions",
        "The event of an upload to a versioned bucket has its version ID and a hexadecimal sequencer.",
        "lumendrop --json status KEY",
        "`version_id` is the one that PutObject returned; `sequencer` is hexadecimal",
        _versions_and_order,
    ),
    Assumption(
        "checksum",
        "S3 returns the SHA-256 of an upload that was sent with it, so that the same photo is recognized.",
        "aws s3api head-object --bucket BUCKET --key KEY --checksum-mode ENABLED",
        "`ChecksumSHA256`",
        _checksum,
    ),
    Assumption(
        "metadata",
        "The result has the metadata that `deliver` wrote with it.",
        "aws s3api head-object --bucket OUTPUT_BUCKET --key KEY",
        "`Metadata` has `correlation-id`, `task-id`, `source-key`",
        _metadata,
    ),
    Assumption(
        "conditional writes",
        "S3 accepts the conditional write of `deliver`, and its answer names the version that is stored.",
        "lumendrop --json status KEY",
        "`output.version_id` is the `VersionId` of the result",
        _new_version,
    ),
    Assumption(
        "workflow",
        "Step Functions runs the definition to its end, with the roles of the stack.",
        "aws stepfunctions describe-execution --execution-arn ARN",
        "`SUCCEEDED`",
        _execution,
    ),
    Assumption(
        "time",
        "JSONata's `$now()` has milliseconds and a Z. The ledger's index sorts by it.",
        "lumendrop --json status KEY",
        "`finished_at` like `2026-11-27T20:00:00.000Z`",
        _time_of_the_workflow,
    ),
    Assumption(
        "index",
        "The ledger's index has the last change of the row within seconds.",
        "lumendrop list --since 15m",
        "the upload, `enhanced`",
        _index,
    ),
    Assumption(
        "logs",
        "Each function logs lines of JSON with the upload's correlation ID.",
        "aws logs filter-log-events --log-group-name GROUP --filter-pattern CORRELATION_ID",
        "at least one event for each function",
        _logs,
    ),
    Assumption(
        "metrics",
        "CloudWatch extracts the metrics from the logs, with the names and dimensions that the alarms use.",
        "aws cloudwatch get-metric-statistics --metric-name PhotosEnhanced --namespace Lumendrop/STACK …",
        "a sum of at least 1",
        _metric,
    ),
    Assumption(
        "recovery",
        "The ledger can be restored, and rows of requeued messages expire.",
        "aws dynamodb describe-continuous-backups --table-name TABLE",
        "`ENABLED`, also for `describe-time-to-live`",
        _recovery,
    ),
)
"""In the order in which they are checked."""
