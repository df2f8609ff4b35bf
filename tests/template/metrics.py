"""Checks that the metrics of alarms and dashboards are emitted by AWS or by the functions."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.template.merged import written
from tests.template.reading import FUNCTIONS, PARAMETERS, ROOT, SAM

Body = dict[str, Any]

# What AWS emits of a resource: the dimension, the type of the resource it names, the part of it, the names. Sources:
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
AWS: dict[str, tuple[str, str, str, set[str]]] = {
    "AWS/Lambda": (
        "FunctionName",
        "AWS::Lambda::Function",
        "",
        {
            *("Invocations", "Errors", "Throttles", "DeadLetterErrors", "RecursiveInvocationsDropped"),
            *("Duration", "PostRuntimeExtensionsDuration", "ConcurrentExecutions", "AsyncEventsReceived"),
            *("AsyncEventAge", "AsyncEventsDropped", "DestinationDeliveryFailures"),
        },
    ),
    "AWS/SQS": (
        "QueueName",
        "AWS::SQS::Queue",
        ".QueueName",
        {
            *("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesDelayed"),
            *("ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesVisible"),
            *("NumberOfEmptyReceives", "NumberOfMessagesDeleted", "NumberOfMessagesReceived"),
            *("NumberOfMessagesSent", "SentMessageSize"),
        },
    ),
    "AWS/States": (
        "StateMachineArn",
        "AWS::StepFunctions::StateMachine",
        "",
        {
            *("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsAborted"),
            *("ExecutionsTimedOut", "ExecutionThrottled", "ExecutionTime", "RedrivenExecutionsStarted"),
        },
    ),
    "AWS/Events": (
        "RuleName",
        "AWS::Events::Rule",
        "",
        {
            *("DeadLetterInvocations", "FailedInvocations", "Invocations", "InvocationAttempts"),
            *("InvocationsFailedToBeSentToDlq", "InvocationsSentToDlq", "IngestionToInvocationStartLatency"),
            *("IngestionToInvocationSuccessLatency", "MatchedEvents", "RetryInvocationAttempts"),
            *("SuccessfulInvocationAttempts", "ThrottledRules", "TriggeredRules"),
        },
    ),
    "AWS/DynamoDB": (
        "TableName",
        "AWS::DynamoDB::Table",
        "",
        {
            *("ConditionalCheckFailedRequests", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"),
            *("ReadThrottleEvents", "WriteThrottleEvents", "TransactionConflict"),
        },
    ),
}
OURS = written(SAM["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"])
LAYER = ROOT / "layers/lumendrop"
MEASURES = ("count", "measure")  # of lumendrop.telemetry
STATISTIC = re.compile(r"Sum|Average|Minimum|Maximum|SampleCount|p\d{1,2}(\.\d)?")
TREATMENTS = ("breaching", "notBreaching", "ignore")
DAY, WEEK, HOUR = 86_400, 604_800, 3_600
WORDS = re.compile(r"[a-z]\w*")


class Metric(NamedTuple):
    """One metric of an alarm or a dashboard, with the values of dimensions as Fn::Sub writes them."""

    where: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str


@cache
def emitted() -> dict[str, set[str]]:
    """The names that our code emits, by service, read from the calls of `count` and `measure`.

    The code of a function is its file, and the modules of the layer that the file imports.
    """
    return {
        _service(name): {metric for one in (path, *_imported(path)) for metric in _counted(one.read_text())}
        for name, path in FUNCTIONS.items()
    }


def _imported(path: Path) -> list[Path]:
    """The modules of the layer that a function imports, except the one that defines the calls."""
    text = path.read_text()
    names = set(re.findall(r"^from lumendrop\.(\w+) import", text, re.MULTILINE))
    for listed in re.findall(r"^from lumendrop import ([\w, ]+)$", text, re.MULTILINE):
        names |= set(listed.split(", "))
    return [LAYER / f"{name}.py" for name in sorted(names - {"telemetry"}) if (LAYER / f"{name}.py").exists()]


def _service(function: str) -> str:
    variables = SAM["Resources"][function]["Properties"]["Environment"]["Variables"]
    return str(variables["POWERTOOLS_SERVICE_NAME"])


def _counted(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MEASURES:
            names = [one.value for one in _branches(node.args[0]) if isinstance(one, ast.Constant)]
            if not names:
                raise ValueError(f"a metric's name has to be written out: {ast.unparse(node)}")
            yield from map(str, names)


def _branches(node: ast.expr) -> list[ast.expr]:
    """`"A" if x else "B"` names two."""
    return [*_branches(node.body), *_branches(node.orelse)] if isinstance(node, ast.IfExp) else [node]


def ambiguous_modules() -> list[str]:
    """Modules of the layer that emit metrics, and that not exactly one function imports."""
    found = [path for path in LAYER.glob("*.py") if path.stem != "telemetry" and list(_counted(path.read_text()))]
    return [one.name for one in found if sum(one in _imported(path) for path in FUNCTIONS.values()) != 1]


def problems(body: Body) -> list[str]:
    """All problems of the alarms and dashboards in a translated template."""
    alarms, boards = _of(body, "AWS::CloudWatch::Alarm"), _of(body, "AWS::CloudWatch::Dashboard")
    found = [one for name, alarm in alarms.items() for one in _alarm_problems(name, alarm)]
    metrics = [one for name, alarm in alarms.items() for one in _alarm_metrics(name, alarm)]
    for name, board in boards.items():
        widgets = _widgets(written(board["DashboardBody"]))
        metrics += [metric for widget in widgets for metric in _widget_metrics(name, widget)]
        found += [one for widget in widgets for one in _widget_problems(name, widget, alarms)]
    return found + [one for metric in metrics for one in _metric_problems(metric, body)]


def _of(body: Body, kind: str) -> dict[str, Body]:
    return {name: one["Properties"] for name, one in body["Resources"].items() if one["Type"] == kind}


def _metric_problems(metric: Metric, body: Body) -> Iterator[str]:
    where = f"{metric.where}: {metric.namespace} {metric.name}"
    if not STATISTIC.fullmatch(metric.statistic):
        yield f"{where}: no statistic {metric.statistic!r}"
    if metric.namespace == OURS:
        services = {service for service, names in emitted().items() if metric.name in names}
        if not services:
            yield f"{where}: no code of ours emits it"
        elif metric.dimensions not in {(("service", service),) for service in services}:
            yield f"{where}: emitted with service {sorted(services)}, not {dict(metric.dimensions)}"
        return
    dimension, kind, part, names = AWS.get(metric.namespace, ("", "", "", set()))
    if metric.name not in names:
        yield f"{where}: AWS emits no such metric"
        return
    named = {name: written({"Ref": name})[:-1] + part + "}" for name in _of(body, kind)}
    if [one for one, _ in metric.dimensions] != [dimension] or metric.dimensions[0][1] not in named.values():
        yield f"{where}: its dimension is {dimension} with a {kind}'s name, not {dict(metric.dimensions)}"


def _alarm_metrics(name: str, alarm: Body) -> Iterator[Metric]:
    if "MetricName" in alarm:
        yield _metric(name, alarm, alarm["Statistic"])
    for one in alarm.get("Metrics", []):
        if "MetricStat" in one:
            yield _metric(name, one["MetricStat"]["Metric"], one["MetricStat"]["Stat"])


def _metric(where: str, metric: Body, statistic: str) -> Metric:
    dimensions = tuple((one["Name"], written(one["Value"])) for one in metric.get("Dimensions", []))
    return Metric(where, written(metric["Namespace"]), metric["MetricName"], dimensions, statistic)


def _alarm_problems(name: str, alarm: Body) -> Iterator[str]:
    for actions in ("AlarmActions", "OKActions"):
        if not alarm.get(actions):
            yield f"{name}: no {actions}"
    if alarm.get("TreatMissingData") not in TREATMENTS:
        yield f"{name}: does not define how missing data is treated"
    section = re.search(r"See docs/operations\.md#([\w-]+)$", written(alarm.get("AlarmDescription", "")).strip())
    if not section or section[1] not in anchors():
        yield f"{name}: its description names no section of docs/operations.md"
    math = [one for one in alarm.get("Metrics", []) if "Expression" in one]
    yield from _expression_problems(name, math, {one["Id"] for one in alarm.get("Metrics", [])})
    if math and [one["Id"] for one in alarm["Metrics"] if one.get("ReturnData", True)] != [math[0]["Id"]]:
        yield f"{name}: exactly its expression has to return data"
    periods = [alarm.get("Period")] if "Period" in alarm else [_period(one) for one in alarm["Metrics"]]
    for period in (one for one in periods if one):
        looked_back = period * _number(alarm["EvaluationPeriods"])
        if looked_back > (WEEK if period >= HOUR else DAY):
            yield f"{name}: CloudWatch does not look back {looked_back} seconds with periods of {period}"


def _period(metric: Body) -> int:
    return int(metric.get("MetricStat", {}).get("Period", 0))


def _number(value: Any) -> int:
    """A number, or the largest that a parameter can be."""
    return int(PARAMETERS[value["Ref"]]["MaxValue"] if isinstance(value, dict) else value)


def _expression_problems(name: str, math: list[Body], ids: set[str]) -> Iterator[str]:
    used = {word for one in math for word in WORDS.findall(re.sub(r"[A-Z]\w*\(", "(", one["Expression"]))}
    if unknown := used - ids:
        yield f"{name}: its expression names {sorted(unknown)}, which is no metric of it"
    if math and (unused := ids - used - {one["Id"] for one in math}):
        yield f"{name}: its expression has no use for {sorted(unused)}"


def _widgets(text: str) -> list[Body]:
    """The widgets of a dashboard's body, numbers that are parameters at their defaults."""

    def default(match: re.Match[str]) -> str:
        return str(PARAMETERS[match[1]]["Default"])

    widgets: list[Body] = json.loads(re.sub(r"(?<!\")\$\{(\w+)\}(?=[,}\]\s])", default, text))["widgets"]
    return widgets


def _widget_metrics(name: str, widget: Body) -> Iterator[Metric]:
    properties = widget["properties"]
    for row in properties.get("metrics", []):
        options = row[-1] if isinstance(row[-1], dict) else {}
        namespace, metric, *pairs = [part for part in row if isinstance(part, str)] or ["", ""]
        if metric:
            dimensions = tuple(zip(pairs[::2], pairs[1::2], strict=True))
            statistic = options.get("stat", properties.get("stat", "Average"))
            yield Metric(f"{name}, {properties['title']}", namespace, metric, dimensions, statistic)


def _widget_problems(name: str, widget: Body, alarms: dict[str, Body]) -> Iterator[str]:
    properties = widget["properties"]
    where = f"{name}, {properties['title']}"
    if widget["type"] == "alarm":
        shown = set(properties["alarms"])
        if missing := {f"${{{alarm}.Arn}}" for alarm in alarms} - shown - OPTIONAL:
            yield f"{where}: {sorted(missing)} is not shown"
        return
    if properties.get("region") != "${AWS::Region}":
        yield f"{where}: not of this region"
    options = [row[-1] for row in properties["metrics"] if isinstance(row[-1], dict)]
    math = [{"Id": one["id"], "Expression": one["expression"]} for one in options if "expression" in one]
    yield from _expression_problems(where, math, {one["id"] for one in options if "id" in one})


OPTIONAL = {"${HeartbeatAlarm.Arn}", "${CompletionRuleAlarm.Arn}", "${SweepRuleAlarm.Arn}"}
"""Alarms that exist only with a parameter. A dashboard that refers to them would fail without them."""


@cache
def anchors() -> set[str]:
    """The anchors of the alarms' rows in docs/operations.md."""
    return set(re.findall(r'<a id="(\w+)"></a>', (ROOT / "docs/operations.md").read_text()))
