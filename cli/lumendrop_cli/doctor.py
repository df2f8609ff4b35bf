"""`lumendrop doctor`: looks at everything that has to be right, and says what to do about what is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal

import typer
from botocore.exceptions import ClientError
from rich.markup import escape

from lumendrop_cli import enhancer, ledger, upload_queue
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE, Trouble, explained, is_denied

Level = Literal["ok", "warning", "problem"]
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_LATELY = timedelta(hours=24)
_AGE_WINDOW = timedelta(minutes=15)
_OLD_SECONDS = 3600
_LAST_SUCCEEDED = 10
_MOST_COUNTED = 100


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    level: Level
    finding: str
    to_do: str = ""


def doctor(context: typer.Context) -> None:
    """Look at everything that has to be right: key, balance, events, queues, executions, alarms.

    Each finding is ok, a warning or a problem, and says what to do. Exit code 1 if there is a problem.
    """
    stack, out = find(context), output(context)
    with out.working("Looking at the stack …") as say:
        findings = [finding for check in _CHECKS for finding in _carried_out(check, stack, say)]
    problems = sum(one.level == "problem" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    data = {"problems": problems, "warnings": warnings, "findings": [asdict(one) for one in findings]}
    out.result(data, (line for one in findings for line in _lines(one)))
    if problems:
        raise typer.Exit(NOT_DONE)


def _carried_out(
    check: Callable[[Stack], Iterator[Finding]], stack: Stack, say: Callable[[str], None]
) -> list[Finding]:
    """One check's findings; what AWS refuses to tell is a finding too, and the other checks go on."""
    name = check.__name__.strip("_").replace("_", " ")
    say(f"Looking at the stack: {name} …")
    findings = []
    try:
        for finding in check(stack):
            findings.append(finding)  # noqa: PERF402  # those found before an error count too
    except ClientError as error:
        findings.append(Finding(name, "warning" if is_denied(error) else "problem", f"Not known. {explained(error)}"))
    except Trouble as error:
        findings.append(Finding(name, "problem", str(error)))
    return findings


def _lines(one: Finding) -> Iterator[str]:
    colour = _COLOURS[one.level]
    yield f"[{colour}]{one.level:<8}[/{colour}] [bold]{escape(one.check)}[/bold]: {escape(one.finding)}"
    if one.to_do:
        yield f"         To do: {escape(one.to_do)}"


def _stack(stack: Stack) -> Iterator[Finding]:
    if stack.status.endswith("_IN_PROGRESS"):
        yield Finding("stack", "warning", f"It is being changed: {stack.status}.", "Look again when that has ended.")
    elif stack.status.endswith("_FAILED"):
        what = "CloudFormation's events of the stack say why; mend that and deploy again."
        yield Finding("stack", "problem", f"Its last change failed: {stack.status}.", what)
    else:
        yield Finding("stack", "ok", f"{stack.name} is deployed ({stack.status}).")


def _key(stack: Stack) -> Iterator[Finding]:
    """The key, and the balance of its account; the key itself stays in here."""
    secrets, base_url = stack.client("secretsmanager"), stack.parameter("ApiBaseUrl")
    try:
        key = str(secrets.get_secret_value(SecretId=stack.output("KeySecretArn")).get("SecretString", "")).strip()
    except secrets.exceptions.ResourceNotFoundException:
        key = ""
    if not key:
        yield Finding("key", "problem", "No API key is set; all uploads wait.", "Set it: `lumendrop set-key`.")
        return
    try:
        enhancer.check(base_url, key)
        yield Finding("key", "ok", f"It may use {enhancer.MODEL} at {base_url}.")
        yield _balance(stack, enhancer.credits_left(base_url, key))
    except enhancer.WrongKey as error:
        yield Finding("key", "problem", f"{error} All uploads wait until then.")
    except enhancer.Unreachable as error:
        what = "Nothing; uploads wait and go on by themselves. If it lasts, ask the vendor."
        yield Finding("enhancer", "problem", str(error), what)


def _balance(stack: Stack, balance: float | None) -> Finding:
    if balance is None:
        return Finding("balance", "warning", "Not known: the enhancer did not say it in a way known here.")
    last = _last_enhanced(stack)
    price = (last or {}).get("credits")
    if not price:
        level: Level = "problem" if balance <= 0 else "ok"
        to_do = "Top it up; uploads go on by themselves within fifteen minutes." if level == "problem" else ""
        return Finding("balance", level, f"{balance:,g} credits. What a task costs is not known yet.", to_do)
    tasks = int(balance // price)
    waiting = upload_queue.length(stack, stack.output("UploadQueueUrl"))
    text = f"{balance:,g} credits: {tasks:,} tasks at the {price:g} credits that the last enhanced photo cost."
    if tasks < 1:
        return Finding("balance", "problem", text, "Top it up; uploads go on by themselves within fifteen minutes.")
    if tasks < waiting:
        return Finding("balance", "warning", f"{text} {waiting:,} wait.", "Top it up before it runs out.")
    return Finding("balance", "ok", text)


def _event_source(stack: Stack) -> Iterator[Finding]:
    state = upload_queue.event_source_state(stack)
    if state == "Enabled":
        yield Finding("event source", "ok", "submit gets the uploads from the queue.")
    elif state in ("Enabling", "Updating", "Creating"):
        yield Finding("event source", "warning", f"It is {state.lower()}.", "Look again in a minute.")
    else:
        what = f"It is {state.lower()}: uploads wait in the queue, up to 14 days."
        yield Finding("event source", "problem", what, "Go on: `lumendrop resume`.")


def _rules(stack: Stack) -> Iterator[Finding]:
    does = {
        "UploadRule": ("brings uploads to the queue", "New uploads are lost to Lumendrop until it is enabled"),
        "ExecutionFailureRule": ("reports executions that end early", "Executions that end early are not reported"),
    }
    for logical_id, (works, fails) in does.items():
        name = stack.resource(logical_id)
        if stack.client("events").describe_rule(Name=name)["State"] == "DISABLED":
            to_do = f"`aws events enable-rule --name {name}`; then `lumendrop backfill` for what was dropped meanwhile."
            yield Finding("rules", "problem", f"{logical_id} is disabled. {fails}.", to_do)
        else:
            yield Finding("rules", "ok", f"{logical_id} {works}.")


def _buckets(stack: Stack) -> Iterator[Finding]:
    s3, source, target = stack.client("s3"), stack.output("InputBucketName"), stack.output("OutputBucketName")
    if "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=source):
        yield Finding("buckets", "ok", "The input bucket tells EventBridge of its uploads.")
    else:
        what = f"The input bucket {source} tells EventBridge nothing, so no upload is seen."
        yield Finding("buckets", "problem", what, "Switch Amazon EventBridge on in the bucket's properties, Events.")
    on = "aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket"
    if s3.get_bucket_versioning(Bucket=source).get("Status") == "Enabled":
        yield Finding("buckets", "ok", "The input bucket keeps versions.")
    else:
        what = f"The input bucket {source} keeps no versions; every upload is rejected."
        yield Finding("buckets", "problem", what, f"`{on} {source}`")
    if s3.get_bucket_versioning(Bucket=target).get("Status") == "Enabled":
        yield Finding("buckets", "ok", "The output bucket keeps versions.")
    else:
        what = f"The output bucket {target} keeps no versions: a photo that is enhanced again replaces the one before."
        yield Finding("buckets", "warning", what, f"`{on} {target}`, if you want them back some day.")


def _queues(stack: Stack) -> Iterator[Finding]:
    dead = upload_queue.length(stack, stack.output("DeadLetterQueueUrl"))
    if dead:
        what = f"It holds {dead:,}: what made submit crash five times, or could not be brought to the queue."
        to_do = "submit's log says why; mend that, then send them back: `lumendrop redrive`."
        yield Finding("dead-letter queue", "problem", what, to_do)
    else:
        yield Finding("dead-letter queue", "ok", "It is empty.")
    waiting = upload_queue.length(stack, stack.output("UploadQueueUrl"))
    yield Finding("upload queue", "ok", f"It holds {waiting:,} that wait or are being submitted.")
    age = _oldest_seconds(stack)
    if age is None:
        yield Finding("oldest upload", "ok", "Its age is not known here: CloudWatch has no figure of the last minutes.")
    elif age > _OLD_SECONDS:
        to_do = "submit's log says why (`upload requeued`); docs/operations.md, Uploads wait."
        yield Finding("oldest upload", "warning", f"It waits for {timedelta(seconds=int(age))}.", to_do)
    else:
        yield Finding("oldest upload", "ok", f"It waits for {timedelta(seconds=int(age))}.")


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


def _today(stack: Stack) -> Iterator[Finding]:
    limit, used = int(stack.parameter("DailyTaskLimit")), ledger.tasks_of(stack, datetime.now(UTC).date())
    text = f"{used:,} of {limit:,} tasks today (UTC)."
    if used < limit:
        yield Finding("daily limit", "ok", text)
    else:
        to_do = "Nothing, uploads go on tomorrow; or raise DailyTaskLimit."
        yield Finding("daily limit", "warning", text, to_do)


def _executions(stack: Stack) -> Iterator[Finding]:
    last = _last_enhanced(stack)
    if last:
        yield Finding("last success", "ok", f"{last['key']}, {last.get('finished_at')}.")
    else:
        what = f"None of the last {_LAST_SUCCEEDED} executions that succeeded enhanced a photo."
        yield Finding("last success", "warning", what, "Try one: `lumendrop smoke`. It costs one task.")
    failed = sum(_ended_lately(stack, status) for status in ("FAILED", "TIMED_OUT", "ABORTED"))
    if failed:
        counted = f"{failed:,}" if failed < _MOST_COUNTED else f"{_MOST_COUNTED:,} or more"
        to_do = "Reports below errors/ in the output bucket, and `lumendrop status KEY`, say why and what to do."
        yield Finding("executions", "warning", f"{counted} failed in the last 24 hours.", to_do)
    else:
        yield Finding("executions", "ok", "None failed in the last 24 hours.")


def _last_enhanced(stack: Stack) -> ledger.Row | None:
    """The newest enhanced upload among the last executions that succeeded, as those of rejected uploads do too."""
    states = stack.client("stepfunctions")
    listed = states.list_executions(
        stateMachineArn=stack.output("WorkflowArn"), statusFilter="SUCCEEDED", maxResults=_LAST_SUCCEEDED
    )
    for execution in listed["executions"]:
        upload = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"]).get("upload")
        row = ledger.of_version(stack, upload["key"], upload["version_id"]) if upload else None
        if row and row["status"] == "enhanced":
            return row
    return None


def _ended_lately(stack: Stack, status: str) -> int:
    """How many executions ended like this in the last 24 hours, counted up to a hundred; newest come first."""
    listed = stack.client("stepfunctions").list_executions(
        stateMachineArn=stack.output("WorkflowArn"), statusFilter=status, maxResults=_MOST_COUNTED
    )
    since = datetime.now(UTC) - _LATELY
    return sum(one["stopDate"] >= since for one in listed["executions"])


def _alarms(stack: Stack) -> Iterator[Finding]:
    names = stack.of_type("AWS::CloudWatch::Alarm") + stack.of_type("AWS::CloudWatch::CompositeAlarm")
    kinds = ["MetricAlarm", "CompositeAlarm"]
    ringing = []
    for some in _hundreds(names):
        found = stack.client("cloudwatch").describe_alarms(AlarmNames=some, AlarmTypes=kinds)
        ringing += [one for kind in kinds for one in found.get(f"{kind}s", []) if one["StateValue"] == "ALARM"]
    for alarm in ringing:
        yield Finding("alarms", "problem", f"{alarm['AlarmName']} is in ALARM.", alarm.get("AlarmDescription", ""))
    if not ringing:
        yield Finding("alarms", "ok", f"None of {len(names)} is in ALARM.")


def _hundreds(names: list[str]) -> Iterator[list[str]]:
    left = iter(names)
    while some := list(islice(left, 100)):
        yield some


_CHECKS = (_stack, _key, _event_source, _rules, _buckets, _queues, _today, _executions, _alarms)
