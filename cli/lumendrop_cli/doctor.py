"""`lumendrop doctor`: checks that everything is set up correctly, and says how to fix what is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal

import typer
from botocore.exceptions import ClientError

from lumendrop_cli import enhancer, event_delivery, event_source, ledger, ledger_index, statuses, upload_queue
from lumendrop_cli.batches import batches
from lumendrop_cli.errors import FAILURE, CliError, from_aws_error, is_denied
from lumendrop_cli.printer import Line, Progress, printer
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.times import utc_text
from lumendrop_cli.workflow import correlation_id, execution_of_each

Level = Literal["ok", "warning", "problem"]
_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}
_RECENT = timedelta(hours=24)
_AGE_WINDOW = timedelta(minutes=15)
_OLD_SECONDS = 3600
_RECENT_SUCCESSES = 30
_MAX_COUNTED = 100
_MAX_PAGES = 20  # of 1,000 rows each, so at most some seconds and 0.001 USD
_NAMED = 5
_GRACE = timedelta(minutes=15)
_ALARMS_PER_CALL = 100
# CloudFormation does not recreate a nested stack that was deleted without its parent.
_RESTORE_NESTED = "Deploy the template once without this nested stack, then deploy it as it is."
_UNSUCCESSFUL = ("FAILED", "TIMED_OUT", "ABORTED")


@dataclass(frozen=True)
class Finding:
    """The result of one check, and what to do about it."""

    check: str
    level: Level
    finding: str
    to_do: str = ""


def doctor(context: typer.Context) -> None:
    """Check the key, balance, events, buckets, queues, daily limit, executions, and alarms.

    Each finding is ok, a warning, or a problem, and says what to do. Exit code 1 if there is a problem.
    """
    stack, out = load_stack(context), printer(context)
    with out.progress("Checking the stack …") as progress:
        findings = [finding for check in _CHECKS for finding in _run(check, stack, progress)]
    problems = sum(one.level == "problem" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    data = {"problems": problems, "warnings": warnings, "findings": [asdict(one) for one in findings]}
    out.result(data, (line for one in findings for line in _lines(one)))
    if problems:
        raise typer.Exit(FAILURE)


def _run(check: Callable[[Stack], Iterator[Finding]], stack: Stack, progress: Progress) -> list[Finding]:
    """One check's findings. An error of AWS becomes a finding, so that the other checks still run."""
    name = check.__name__.strip("_").replace("_", " ")
    progress(f"Checking the stack: {name} …")
    findings = []
    try:
        for finding in check(stack):
            findings.append(finding)  # noqa: PERF402  # keeps the findings from before an error
    except ClientError as error:
        text = f"Could not be checked. {from_aws_error(error)}"
        findings.append(Finding(name, "warning" if is_denied(error) else "problem", text))
    except CliError as error:
        findings.append(Finding(name, "problem", str(error)))
    return findings


def _lines(one: Finding) -> Iterator[Line]:
    yield (f"{one.level:<8}", _COLORS[one.level]), (" ", ""), (one.check, "bold"), (f": {one.finding}", "")
    if one.to_do:
        yield f"         To do: {one.to_do}"


def _stack(stack: Stack) -> Iterator[Finding]:
    yield _stack_finding(f"The stack {stack.name}", stack.status)
    for logical_id, status in stack.nested_stacks():
        yield _stack_finding(f"The nested stack {logical_id}", status)


def _stack_finding(name: str, status: str) -> Finding:
    if status == "DELETE_COMPLETE":
        return Finding("stack", "problem", f"{name} is deleted; its resources are missing.", _RESTORE_NESTED)
    if status.endswith("_IN_PROGRESS"):
        return Finding("stack", "warning", f"{name} is being changed ({status}).", "Wait, then run this command again.")
    if status.endswith("_FAILED"):
        to_do = "Find the cause in the stack's events in the CloudFormation console, fix it, and deploy again."
        return Finding("stack", "problem", f"The last change of {name[0].lower()}{name[1:]} failed ({status}).", to_do)
    return Finding("stack", "ok", f"{name} is deployed ({status}).")


def _key(stack: Stack) -> Iterator[Finding]:
    """The key and its account's balance. The key itself never appears in a finding."""
    secrets, base_url = stack.client("secretsmanager"), stack.parameter("ApiBaseUrl")
    try:
        key = str(secrets.get_secret_value(SecretId=stack.output("KeySecretArn")).get("SecretString", "")).strip()
    except secrets.exceptions.ResourceNotFoundException:
        key = ""
    if not key:
        yield Finding("key", "problem", "No API key is set. All uploads wait.", "Set the key: `lumendrop set-key`.")
        return
    try:
        enhancer.check_key(base_url, key)
        yield Finding("key", "ok", f"The key can use {enhancer.MODEL} at {base_url}.")
        yield _balance(stack, enhancer.remaining_credits(base_url, key))
    except enhancer.InvalidKey as error:
        yield Finding("key", "problem", f"{error} All uploads wait until then.")
    except enhancer.EnhancerUnavailable as error:
        to_do = "Nothing. Uploads wait and resume automatically. If this continues, contact the vendor."
        yield Finding("enhancer", "problem", str(error), to_do)


def _balance(stack: Stack, balance: float | None) -> Finding:
    top_up = "Top up the balance. Uploads resume automatically within 15 minutes."
    if balance is None:
        return Finding("balance", "warning", "The enhancer's response has no balance in a known format.")
    price = next((row["credits"] for row in _enhanced(stack) if row.get("credits")), None)  # reused photos have none
    if not price:
        text = f"{balance:,g} credits. The price of a task is not known yet."
        return Finding("balance", "ok", text) if balance > 0 else Finding("balance", "problem", text, top_up)
    tasks = int(balance // price)
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    text = f"{balance:,g} credits: {count(tasks, 'task')} at {price:g} credits, the price of the last enhanced photo."
    if tasks < 1:
        return Finding("balance", "problem", text, top_up)
    if tasks < waiting:
        return Finding(
            "balance",
            "warning",
            f"{text} {count(waiting, 'upload')} waiting.",
            "Top up the balance before it runs out.",
        )
    return Finding("balance", "ok", text)


def _event_source(stack: Stack) -> Iterator[Finding]:
    state = event_source.state(stack)
    if state == event_source.ENABLED:
        yield Finding("event source", "ok", "Enabled: submit receives uploads from the queue.")
    elif state in ("Enabling", "Updating", "Creating"):
        yield Finding("event source", "warning", f"{state}.", "Wait a minute, then run this command again.")
    else:
        text = f"{state}: uploads wait in the queue for up to 14 days."
        yield Finding("event source", "problem", text, "Resume: `lumendrop resume`.")


def _rules(stack: Stack) -> Iterator[Finding]:
    rules = {
        "UploadRule": ("sends uploads to the queue", "Lumendrop does not receive new uploads"),
        "ExecutionFailureRule": ("reports executions that end early", "Executions that end early are not reported"),
    }
    for logical_id, (enabled, disabled) in rules.items():
        name = stack.resource(logical_id)
        if stack.client("events").describe_rule(Name=name)["State"] == "DISABLED":
            to_do = f"`aws events enable-rule --name {name}`; then `lumendrop backfill` for the uploads of that time."
            yield Finding("rules", "problem", f"{logical_id} is disabled. {disabled}.", to_do)
        else:
            yield Finding("rules", "ok", f"{logical_id} {enabled}.")


def _buckets(stack: Stack) -> Iterator[Finding]:
    s3, source, target = stack.client("s3"), stack.output("InputBucketName"), stack.output("OutputBucketName")
    yield from _bucket_pair(stack, source, target)
    if seconds := event_delivery.seconds_until_reliable(stack):
        text = "The stack is new. EventBridge needs about five minutes, and may lose events of uploads until then."
        to_do = f"Wait {seconds} seconds. Then `lumendrop backfill` sends photos that were uploaded before."
        yield Finding("buckets", "warning", text, to_do)
    if "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=source):
        yield Finding("buckets", "ok", "The input bucket sends events to EventBridge.")
    else:
        text = f"The input bucket {source} sends no events to EventBridge, so uploads are not received."
        yield Finding("buckets", "problem", text, "Turn on Amazon EventBridge in the bucket's properties.")
    enable = "aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket"
    status = s3.get_bucket_versioning(Bucket=source).get("Status")
    if status == "Enabled":
        yield Finding("buckets", "ok", "The input bucket has versioning.")
    else:
        lacks = "suspended versioning: a new upload replaces the previous one" if status else "no versioning"
        text = f"The input bucket {source} has {lacks}. Every upload is rejected."
        yield Finding("buckets", "problem", text, f"`{enable} {source}`")
    if s3.get_bucket_versioning(Bucket=target).get("Status") == "Enabled":
        yield Finding("buckets", "ok", "The output bucket has versioning.")
    else:
        text = f"The output bucket {target} has no versioning. A new result replaces the previous one of the same key."
        yield Finding("buckets", "warning", text, f"To keep previous results: `{enable} {target}`")


def _bucket_pair(stack: Stack, source: str, target: str) -> Iterator[Finding]:
    """The input and the output bucket must differ, and the workflow writes reports only in its own region."""
    if source == target:
        text = f"The input bucket {source} is also the output bucket. Each result is an upload that is paid for again."
        yield Finding("buckets", "problem", text, "Run `lumendrop pause`, then deploy with two different buckets.")
    s3 = stack.client("s3")
    region, own = s3.get_bucket_location(Bucket=target).get("LocationConstraint") or "us-east-1", s3.meta.region_name
    if {"EU": "eu-west-1"}.get(region, region) != own:
        text = f"The output bucket {target} is in {region}, the stack in {own}. Reports can't be written."
        yield Finding("buckets", "problem", text, f"Deploy with an output bucket in {own}.")


def _queues(stack: Stack) -> Iterator[Finding]:
    dead = upload_queue.count_messages(stack, stack.output("DeadLetterQueueUrl"))
    if dead:
        text = f"{count(dead, 'message')}: submit failed five times, or EventBridge could not deliver to the queue."
        to_do = "Find the cause in the log of submit, fix it, and send the messages back: `lumendrop redrive`."
        yield Finding("dead-letter queue", "problem", text, to_do)
    else:
        yield Finding("dead-letter queue", "ok", "Empty.")
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    yield Finding("upload queue", "ok", f"{count(waiting, 'upload')} waiting or being submitted.")
    age = _oldest_seconds(stack)
    if age is None:
        yield Finding("oldest upload", "ok", "Age not available: CloudWatch has no recent data point.")
    elif age > _OLD_SECONDS:
        to_do = "Find the cause in the log of submit; see docs/operations.md, Uploads wait."
        yield Finding("oldest upload", "warning", f"Waiting for {timedelta(seconds=int(age))}.", to_do)
    else:
        yield Finding("oldest upload", "ok", f"Waiting for {timedelta(seconds=int(age))}.")


def _oldest_seconds(stack: Stack) -> float | None:
    now = datetime.now(UTC)
    answer = stack.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": stack.output("UploadQueueUrl").rpartition("/")[2]}],
        StartTime=now - _AGE_WINDOW,
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    return float(points[-1]["Maximum"]) if points else None


def _daily_limit(stack: Stack) -> Iterator[Finding]:
    limit, used = stack.whole_number("DailyTaskLimit"), ledger.count_tasks(stack, datetime.now(UTC).date())
    text = f"{used:,} of {count(limit, 'task')} today (UTC)."
    if used < limit:
        yield Finding("daily limit", "ok", text)
    else:
        to_do = "Nothing: uploads resume tomorrow. To resume now, raise DailyTaskLimit."
        yield Finding("daily limit", "warning", text, to_do)


def _executions(stack: Stack) -> Iterator[Finding]:
    last = next(_enhanced(stack), None)
    if last:
        yield Finding("last success", "ok", f"{last['key']}, {utc_text(str(last.get('finished_at')))}.")
    else:
        text = f"None of the last {_RECENT_SUCCESSES} successful executions enhanced a photo."
        yield Finding(
            "last success", "warning", text, "Test the stack with `lumendrop smoke`, which pays for one task."
        )
    failed = sum(_count_recent(stack, status) for status in _UNSUCCESSFUL)
    if not failed:
        yield Finding("executions", "ok", "None failed in the last 24 hours.")
        return
    text = f"{failed:,}{' or more' if failed >= _MAX_COUNTED else ''} failed in the last 24 hours"
    still, read_all = _count_open(stack)
    if still:
        text += f"; {count(still, 'upload')}{'' if read_all else ' or more'} without a photo now."
        to_do = "See their reports: `lumendrop list --status failed --status unknown --since 24h`."
        yield Finding("executions", "warning", text, to_do)
    elif read_all:
        yield Finding("executions", "ok", f"{text}; no upload of that time is failed or unknown now.")
    else:
        to_do = "To find what is still open: `lumendrop list --status failed --status unknown --since 24h`."
        yield Finding("executions", "warning", f"{text}.", to_do)


def _count_open(stack: Stack) -> tuple[int, bool]:
    """The failed and unknown uploads that changed in the last 24 hours, and whether all of them were read."""
    wanted = ledger_index.Filter(("failed", statuses.UNKNOWN), datetime.now(UTC) - _RECENT)
    pages = ledger_index.pages(stack, wanted)
    try:
        return sum(map(len, islice(pages, _MAX_PAGES))), next(pages, None) is None
    except CliError:  # the ledger has no index
        return 0, False


def _deadlines(stack: Stack) -> Iterator[Finding]:
    """Rows that nothing completes any more. Depends on no event, so it also finds what a lost event left behind."""
    rows = ledger.list_overdue(stack, int((datetime.now(UTC) - _GRACE).timestamp()))
    executions = execution_of_each(stack) if rows else {}
    idle = [row for row in rows if correlation_id(row) not in executions]
    paid = [row["key"] for row in idle if row.get("task_id")]  # also if submit can't read the row
    claimed = [row["key"] for row in idle if row["status"] == statuses.CLAIMED]
    if paid:
        text = f"{count(len(paid), 'paid upload')} past the deadline, without a running workflow: {_names(paid)}."
        to_do = (
            "`lumendrop fetch KEY` ends one without paying again: with its photo while the result lives (24 hours), "
            "otherwise with a report. `lumendrop backfill` does it for all whose upload still exists."
        )
        yield Finding("deadlines", "problem", text, to_do)
    if claimed and not upload_queue.count_messages(stack, stack.output("UploadQueueUrl")):
        text = f"{count(len(claimed), 'upload')} claimed, without a message that continues: {_names(claimed)}."
        to_do = "`lumendrop backfill --prefix KEY` sends each again. It becomes unknown, and is not paid for again."
        yield Finding("deadlines", "problem", text, to_do)
    if not paid and not claimed:
        yield Finding("deadlines", "ok", "No upload is past its deadline without a workflow.")


def _names(keys: list[str]) -> str:
    more = f", and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    return f"{', '.join(keys[:_NAMED])}{more}"


def _enhanced(stack: Stack) -> Iterator[ledger.Row]:
    """The enhanced uploads among the last successful executions, newest first. Those of rejected ones succeed too."""
    states = stack.client("stepfunctions")
    listed = states.list_executions(
        stateMachineArn=stack.output("WorkflowArn"), statusFilter="SUCCEEDED", maxResults=_RECENT_SUCCESSES
    )
    for execution in listed["executions"]:
        upload = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"]).get("upload")
        row = ledger.row_of(stack, upload["key"], upload["version_id"]) if upload else None
        if row and row["status"] == statuses.ENHANCED:
            yield row


def _count_recent(stack: Stack, status: str) -> int:
    """The number of executions that ended with this status in the last 24 hours, up to 100. The newest come first."""
    listed = stack.client("stepfunctions").list_executions(
        stateMachineArn=stack.output("WorkflowArn"), statusFilter=status, maxResults=_MAX_COUNTED
    )
    since = datetime.now(UTC) - _RECENT
    return sum(one["stopDate"] >= since for one in listed["executions"])


def _alarms(stack: Stack) -> Iterator[Finding]:
    names = stack.physical_ids("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    active = [alarm for alarm in _describe_alarms(stack, names) if alarm["StateValue"] == "ALARM"]
    for alarm in active:
        yield Finding("alarms", "problem", f"{alarm['AlarmName']} is in ALARM.", alarm.get("AlarmDescription", ""))
    if not active and stack.is_sandbox:
        yield Finding("alarms", "ok", f"{len(names)}, not simulated: the sandbox never evaluates them.")
    elif not active:
        yield Finding("alarms", "ok", f"None of {len(names)} is in ALARM.")


def _describe_alarms(stack: Stack, names: list[str]) -> Iterator[dict[str, Any]]:
    kinds = ["MetricAlarm", "CompositeAlarm"]
    for batch in batches(names, _ALARMS_PER_CALL):
        found = stack.client("cloudwatch").describe_alarms(AlarmNames=batch, AlarmTypes=kinds)
        for kind in kinds:
            yield from found.get(f"{kind}s", [])


_CHECKS = (_stack, _key, _event_source, _rules, _buckets, _queues, _daily_limit, _executions, _deadlines, _alarms)
