"""The figures at the top of the page. Each function makes one read of AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lumendrop_cli import cost, event_source, ledger, upload_queue
from lumendrop_cli.stack import Stack
from lumendrop_cli.text import clean

_FORGOTTEN_SECONDS, _FASTER_A_SECOND = 600, 0.0015  # as in layers/lumendrop/rate_limiter.py
_WINDOW = timedelta(minutes=15)
_METRICS = {
    "blocked": "AccountBlocked",
    "unavailable": "EnhancerUnavailable",
    "requeued": "UploadsWaiting",
    "created": "TasksCreated",
}
_ALARMS_PER_CALL = 100


@dataclass(frozen=True)
class Source:
    """A part of the header, and how many seconds it stays current on AWS."""

    name: str
    seconds: float
    read: Callable[[Stack], Any]


def queue(stack: Stack) -> dict[str, Any]:
    """The number of uploads in the queue."""
    return {"waiting": upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))}


def event_source_state(stack: Stack) -> dict[str, Any]:
    """Whether uploads are paused."""
    state = event_source.state(stack)
    return {"state": state, "paused": state in (event_source.DISABLED, "Disabling")}


def spend(stack: Stack) -> dict[str, Any]:
    """Today's tasks and their cost, and the limit."""
    tasks = ledger.count_tasks(stack, datetime.now(UTC).date())
    limit = stack.whole_number("DailyTaskLimit")
    price = cost.price_usd(stack)
    return {"tasks": tasks, "limit": limit, "usd": round(tasks * price, 2), "limit_usd": round(limit * price, 2)}


def rate(stack: Stack) -> dict[str, Any]:
    """How fast tasks are created, and why not faster."""
    answer = stack.client("dynamodb").query(
        TableName=stack.output("LedgerTableName"),
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "rate_limit"}},
    )
    states = [{name: float(value["N"]) for name, value in item.items() if "N" in value} for item in answer["Items"]]
    newest = max(states, key=lambda state: state.get("next_at", 0), default=None)
    return describe_rate(newest, datetime.now(UTC).timestamp())


def describe_rate(state: dict[str, float] | None, now: float) -> dict[str, Any]:
    """The rate limiter's row in words. `layers/lumendrop/rate_limiter.py` describes its fields."""
    if not state or (not state.get("in_outage") and now - state["since"] > _FORGOTTEN_SECONDS):
        return {"state": "full", "per_minute": None, "until": None}
    if state.get("in_outage"):
        return {"state": "outage", "per_minute": None, "until": state["next_at"]}
    if state["since"] > now:
        return {"state": "refused", "per_minute": None, "until": state["since"]}
    interval = state["interval"] / (1 + _FASTER_A_SECOND * (now - state["since"]))
    return {"state": "limited", "per_minute": round(60 / interval, 1), "until": None}


def account(stack: Stack) -> dict[str, Any]:
    """What submit has met in the last 15 minutes: an account error, or an enhancer that is unavailable."""
    now = datetime.now(UTC)
    answer = stack.client("cloudwatch").get_metric_data(
        MetricDataQueries=[_query(stack, name, metric) for name, metric in _METRICS.items()],
        StartTime=now - _WINDOW,
        EndTime=now + timedelta(minutes=1),
    )
    return {one["Id"]: int(sum(one["Values"])) for one in answer["MetricDataResults"]}


def _query(stack: Stack, name: str, metric: str) -> dict[str, Any]:
    dimensions = [{"Name": "service", "Value": "submit"}]
    found = {"Namespace": f"Lumendrop/{stack.name}", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": found, "Period": 300, "Stat": "Sum"}, "ReturnData": True}


def alarms(stack: Stack) -> dict[str, Any]:
    """The alarms in ALARM, with what to do, and whether anything evaluates them."""
    names = stack.physical_ids("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    if not names:
        return {"count": 0, "active": [], "evaluated": not stack.is_sandbox}
    kinds = ["MetricAlarm", "CompositeAlarm"]
    answer = stack.client("cloudwatch").describe_alarms(AlarmNames=names[:_ALARMS_PER_CALL], AlarmTypes=kinds)
    found = [alarm for kind in kinds for alarm in answer.get(f"{kind}s", []) if alarm["StateValue"] == "ALARM"]
    active = [{"name": clean(one["AlarmName"]), "text": clean(one.get("AlarmDescription", ""))} for one in found]
    return {"count": len(names), "active": active, "evaluated": not stack.is_sandbox}


SOURCES = (
    Source("queue", 8, queue),
    Source("rate", 10, rate),
    Source("spend", 10, spend),
    Source("event_source", 10, event_source_state),
    Source("account", 60, account),
    Source("alarms", 60, alarms),
)
