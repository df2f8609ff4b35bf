"""Alarms and dashboards use metrics that exist, and each alarm notifies someone and describes what to do."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import typer.main

from lumendrop_cli.main import app
from tests.template import metrics
from tests.template.merged import written
from tests.template.metrics import AWS, OURS, emitted, problems
from tests.template.reading import EVERYTHING, ROOT, translated

Body = dict[str, Any]


def whole() -> Body:
    """The template with all optional resources."""
    return copy.deepcopy(translated(**EVERYTHING))


def alarms(body: Body) -> dict[str, Body]:
    found = body["Resources"].items()
    return {name: one["Properties"] for name, one in found if one["Type"] == "AWS::CloudWatch::Alarm"}


def test_there_is_nothing_wrong() -> None:
    assert problems(whole()) == []
    assert problems(translated()) == []


def test_the_code_contains_the_names_of_its_metrics() -> None:
    assert {service for service, names in emitted().items() if names} == {"submit", "check_status", "deliver"}
    assert "AccountBlocked" in emitted()["submit"] & emitted()["check_status"]
    assert metrics.ambiguous_modules() == []


ROW = re.compile(r'^\| <a id="(\w+)"></a>`(\w+)` \| (.+?) \| .+ \|$', re.MULTILINE)


def plain(text: str) -> str:
    """A text without Markdown, without substitution marks, and without the link at its end."""
    return re.sub(r"See docs/operations\.md#[\w-]+$|[`${}]", "", " ".join(text.split())).strip()


def test_the_runbook_has_a_row_for_each_alarm_with_the_alarms_description() -> None:
    rows = ROW.findall((ROOT / "docs/operations.md").read_text())
    assert {name: anchor for anchor, name, _ in rows} == {name: name.lower() for name in alarms(whole())}
    for _, name, text in rows:
        description = written(alarms(whole())[name]["AlarmDescription"]).strip()
        assert plain(text) == plain(description), name
        assert description.endswith(f"#{name.lower()}")


def test_the_commands_in_alarm_descriptions_exist() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    texts = [written(one["AlarmDescription"]) for one in alarms(whole()).values()]
    named = re.findall(
        r"lumendrop ([a-z][a-z-]*)(?: (--[a-z-]+))?", "\n".join([*re.findall(r"`([^`]+)`", text), *texts])
    )
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    options = {
        name: {one for parameter in command.params for one in parameter.opts} for name, command in commands.items()
    }
    assert {"doctor", "redrive", "fetch", "retry"} <= {name for name, _ in named}
    assert [(name, option) for name, option in named if option and option not in options[name]] == []
    assert {name for name, _ in named} - set(commands) == set()


def test_descriptions_fit() -> None:
    """Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
    assert {name for name, one in alarms(whole()).items() if len(written(one["AlarmDescription"])) > 1024} == set()


def test_optional_alarms_do_not_exist_by_default() -> None:
    assert set(alarms(whole())) - set(alarms(translated())) == {
        "HeartbeatAlarm",
        "CompletionRuleAlarm",
        "SweepRuleAlarm",
    }


# Each check detects a defect.


def changed(name: str, **properties: Any) -> Callable[[Body], None]:
    """Changes an alarm; None takes a property away."""

    def change(body: Body) -> None:
        alarm = alarms(body)[name]
        alarm.update(properties)
        for gone in [one for one, value in properties.items() if value is None]:
            del alarm[gone]

    return change


def stat(name: str, id_: str, **metric: Any) -> Callable[[Body], None]:
    """Changes a metric of an alarm's expression."""

    def change(body: Body) -> None:
        (found,) = (one for one in alarms(body)[name]["Metrics"] if one["Id"] == id_)
        found["MetricStat"]["Metric"].update(metric)

    return change


def math(name: str, expression: str) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        alarms(body)[name]["Metrics"][0]["Expression"] = expression

    return change


def drawn(before: str, after: str) -> Callable[[Body], None]:
    """Changes the text of the dashboards."""

    def change(body: Body) -> None:
        boards = [one for one in body["Resources"].values() if one["Type"] == "AWS::CloudWatch::Dashboard"]
        assert any(before in written(one["Properties"]["DashboardBody"]) for one in boards)
        for board in boards:
            text = written(board["Properties"]["DashboardBody"])
            board["Properties"]["DashboardBody"] = {"Fn::Sub": text.replace(before, after)}

    return change


def service(name: str) -> list[dict[str, str]]:
    return [{"Name": "service", "Value": name}]


DEFECTS: dict[str, tuple[str, Callable[[Body], None]]] = {
    "a name that AWS doesn't know": ("AWS emits no", changed("ExecutionsFailedAlarm", MetricName="ExecutionFailed")),
    "a name of another service": ("AWS emits no", changed("DeadLetterAlarm", MetricName="Errors")),
    "an unknown namespace": ("AWS emits no", changed("DeadLetterAlarm", Namespace="AWS/Sqs")),
    "a name that our code doesn't emit": (
        "no code of ours",
        changed("SubmitsUnknownAlarm", MetricName="SubmitUnknown"),
    ),
    "a metric of ours under another namespace": ("AWS emits no", changed("SubmitsUnknownAlarm", Namespace="Lumendrop")),
    "a metric of another function": ("emitted with", changed("ResultsRefusedAlarm", Dimensions=service("submit"))),
    "no dimension": ("emitted with", changed("ResultsRefusedAlarm", Dimensions=[])),
    "no dimension of AWS's": ("its dimension is", changed("DeadLetterAlarm", Dimensions=[])),
    "an ARN for a name": (
        "its dimension is",
        changed("DeadLetterAlarm", Dimensions=[{"Name": "QueueName", "Value": {"Ref": "DeadLetterQueue"}}]),
    ),
    "a resource of another kind": (
        "its dimension is",
        changed("SubmitErrorsAlarm", Dimensions=[{"Name": "FunctionName", "Value": {"Ref": "LedgerTable"}}]),
    ),
    "a dimension with another name": (
        "its dimension is",
        changed("SubmitErrorsAlarm", Dimensions=[{"Name": "Function", "Value": {"Ref": "SubmitFunction"}}]),
    ),
    "a name within an expression": ("AWS emits no", stat("UploadRuleAlarm", "dead", MetricName="InvocationsSentToDLQ")),
    "a name of ours within an expression": ("no code", stat("AccountBlockedAlarm", "submit", MetricName="Blocked")),
    "an unknown statistic": ("no statistic", changed("DeadLetterAlarm", Statistic="Max")),
    "no action": ("no AlarmActions", changed("DailyLimitAlarm", AlarmActions=None)),
    "an empty action": ("no AlarmActions", changed("DailyLimitAlarm", AlarmActions=[])),
    "no OK action": ("no OKActions", changed("DailyLimitAlarm", OKActions=None)),
    "no rule for missing data": ("missing data", changed("DailyLimitAlarm", TreatMissingData=None)),
    "an unknown rule for missing data": ("missing data", changed("DailyLimitAlarm", TreatMissingData="ok")),
    "no description": ("names no section", changed("EndedRuleAlarm", AlarmDescription=None)),
    "no section": ("names no section", changed("EndedRuleAlarm", AlarmDescription="It failed.")),
    "a section that isn't there": (
        "names no section",
        changed("EndedRuleAlarm", AlarmDescription="It failed. See docs/operations.md#elsewhere"),
    ),
    "an id that isn't there": ("which is no metric", math("AccountBlockedAlarm", "SUM([submit, check])")),
    "an id without use": ("has no use", math("AccountBlockedAlarm", "submit")),
    "longer than CloudWatch looks back": ("does not look back", changed("HeartbeatAlarm", EvaluationPeriods=169)),
    "too long for short periods": ("does not look back", changed("DeadLetterAlarm", EvaluationPeriods=289)),
    "a widget with a name that AWS doesn't know": (
        "AWS emits no",
        drawn('"ExecutionThrottled"', '"ExecutionsThrottled"'),
    ),
    "a widget with a name that our code doesn't emit": (
        "no code of ours",
        drawn('"PhotoSeconds"', '"SecondsPerPhoto"'),
    ),
    "a widget with a metric of another function": (
        "emitted with",
        drawn('"PhotoSeconds", "service", "deliver"', '"PhotoSeconds", "service", "submit"'),
    ),
    "a widget with an unknown statistic": ("no statistic", drawn('"p50"', '"median"')),
    "a widget with an ARN for a name": ("its dimension is", drawn("${UploadQueue.QueueName}", "${UploadQueue}")),
    "a widget with a broken expression": ("which is no metric", drawn("checks / created", "checks / tasks")),
    "a widget of another region": ("not of this region", drawn("${AWS::Region}", "us-east-1")),
    "an alarm that is missing on the dashboard": ("is not shown", drawn('"${DeadLetterAlarm.Arn}", ', "")),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    finding, change = DEFECTS[name]
    body = whole()
    change(body)
    assert any(finding in one for one in problems(body)), problems(body)


def test_a_metric_name_that_is_computed_is_rejected() -> None:
    with pytest.raises(ValueError, match="written out"):
        list(metrics._counted('count(f"Photos{state}")'))


def test_dashboards_are_json_for_every_parameter() -> None:
    for one in translated()["Resources"].values():
        if one["Type"] == "AWS::CloudWatch::Dashboard":
            text = written(one["Properties"]["DashboardBody"])
            assert json.loads(re.sub(r"\$\{[^}]+\}", "1", text))["widgets"]


def test_the_table_of_aws_has_no_namespace_of_ours() -> None:
    assert OURS == "Lumendrop/${AWS::StackName}"
    assert OURS not in AWS
