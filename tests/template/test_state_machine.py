"""The definitions of the workflow and the backfill have no problems, and the checks detect each kind of problem."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template.asl import problems
from tests.template.merged import written
from tests.template.reading import DEFINITIONS, PARAMETERS, ROOT, SAM, TEXT, properties

SUBSTITUTIONS = {name: set(SAM["Resources"][name]["Properties"]["DefinitionSubstitutions"]) for name in DEFINITIONS}
DEFINITION = DEFINITIONS["Workflow"]
FILES = sorted((ROOT / "statemachines").iterdir())
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_definition_has_no_problems(name: str) -> None:
    assert problems(DEFINITIONS[name], SUBSTITUTIONS[name]) == []


DEFECTS: dict[str, tuple[str, Change]] = {
    "unknown target": ("Elsewhere does not exist", lambda s: s["WaitForTask"].update(Next="Elsewhere")),
    "unknown target of a rule": (
        "Elsewhere does not exist",
        lambda s: s["IsDone"]["Choices"][0].update(Next="Elsewhere"),
    ),
    "unknown target of a catcher": (
        "Elsewhere does not exist",
        lambda s: s["CheckStatus"]["Catch"][0].update(Next="Elsewhere"),
    ),
    "target in the wrong case": ("checkstatus does not exist", lambda s: s["WaitForTask"].update(Next="checkstatus")),
    "unreachable state": (
        "PublishEnhanced is never reached",
        lambda s: s["RecordEnhanced"].update(Catch=[], Next="Enhanced"),
    ),
    "no way to an end": (
        "WaitForTask leads to no end",
        lambda s: s["CheckStatus"].update(Next="WaitForTask", Catch=[]),
    ),
    "neither Next nor End": ("either Next or End", lambda s: s["KeepOutcome"].pop("Next")),
    "Next and End": ("either Next or End", lambda s: s["KeepOutcome"].update(End=True)),
    "no Default": ("needs a Default", lambda s: s["IsDone"].pop("Default")),
    "no Comment": ("no Comment", lambda s: s["IsDone"].pop("Comment")),
    "misspelt type": ("unknown type task", lambda s: s["CheckStatus"].update(Type="task")),
    "misspelt field": ("Asign is no field", lambda s: s["CheckStatus"].update(Asign={})),
    "Parameters of JSONPath": ("Parameters is no field", lambda s: s["Deliver"].update(Parameters={})),
    "ResultPath of JSONPath": ("ResultPath is no field", lambda s: s["Deliver"].update(ResultPath="$.result")),
    "SecondsPath of JSONPath": ("SecondsPath is no field", lambda s: s["WaitForTask"].update(SecondsPath="$.wait")),
    "a key of JSONPath": ("is JSONPath", lambda s: s["Deliver"]["Arguments"].update({"Payload.$": "$"})),
    "a function without a time-out": ("without a time-out", lambda s: s["Deliver"].pop("TimeoutSeconds")),
    "no catcher": ("must catch States.ALL", lambda s: s["Deliver"].pop("Catch")),
    "States.All": ("no error States.All", lambda s: s["Deliver"]["Catch"][0].update(ErrorEquals=["States.All"])),
    "States.ALL with another error": (
        "must stand alone",
        lambda s: s["Deliver"]["Retry"][0].update(ErrorEquals=["States.ALL", "States.Timeout"]),
    ),
    "misspelt error of Lambda": (
        "no error Lambda.TooManyRequests",
        lambda s: s["Deliver"]["Retry"][0].update(ErrorEquals=["Lambda.TooManyRequests"]),
    ),
    "misspelt error of DynamoDB": (
        "no error DynamoDb.ConditionalCheckFailedException",
        lambda s: s["RecordEnhanced"]["Catch"][0].update(ErrorEquals=["DynamoDb.ConditionalCheckFailedException"]),
    ),
    "a retry that shrinks": ("BackoffRate", lambda s: s["Deliver"]["Retry"][0].update(BackoffRate=0.5)),
    "misspelt jitter": ("JitterStrategy", lambda s: s["Deliver"]["Retry"][0].update(JitterStrategy="Full")),
    "a retrier's unknown field": ("no field of a retrier", lambda s: s["Deliver"]["Retry"][0].update(MaxAttempt=3)),
    "broken JSONata": ("is no JSONata", lambda s: s["WaitForTask"].update(Seconds="{% $poll.wait_seconds + %}")),
    "broken JSONata in a rule": (
        "is no JSONata",
        lambda s: s["IsDone"]["Choices"][0].update(Condition="{% $poll.state == 'completed' %}"),
    ),
    "half an expression": (
        "not wholly an expression",
        lambda s: s["WaitForTask"].update(Seconds="{% $poll.wait_seconds }"),
    ),
    "an expression without marks": (
        "without its marks",
        lambda s: s["WaitForTask"].update(Seconds="$poll.wait_seconds"),
    ),
    "a condition without marks": ("is no expression", lambda s: s["IsDone"]["Choices"][0].update(Condition="$done")),
    "unknown function": ("no function $ceiling", lambda s: s["WaitForTask"].update(Seconds="{% $ceiling(1.5) %}")),
    "a function that AWS lacks": ("no function $eval", lambda s: s["WaitForTask"].update(Seconds="{% $eval('1') %}")),
    "unknown variable": (
        "$pol may not be assigned",
        lambda s: s["WaitForTask"].update(Seconds="{% $pol.wait_seconds %}"),
    ),
    "a variable of another path": (
        "$delivery may not be assigned",
        lambda s: s["WriteReport"]["Arguments"]["Payload"].update(output="{% $delivery.output %}"),
    ),
    "an outcome that is not assigned": (
        "$outcome may not be assigned",
        lambda s: [s["RouteInput"]["Choices"][0]["Assign"].pop("outcome"), s["IsDone"]["Choices"][2].pop("Assign")],
    ),
    "unknown member of $states": (
        "no $states.inputs",
        lambda s: s["RouteInput"]["Choices"][0]["Assign"].update(task="{% $states.inputs.task %}"),
    ),
    "unknown member of the context": (
        "no $states.context.Executions",
        lambda s: s["WriteReport"]["Arguments"]["Payload"].update(execution="{% $states.context.Executions.Id %}"),
    ),
    "a result where there is none": (
        "known to a Task and a Map only",
        lambda s: s["KeepOutcome"]["Assign"].update(outcome="{% $states.result %}"),
    ),
    "an error where there is none": (
        "known to catchers only",
        lambda s: s["Deliver"]["Assign"].update(error="{% $states.errorOutput %}"),
    ),
    "unknown substitution": (
        "${Ledger} has no value",
        lambda s: s["RecordEnhanced"]["Arguments"].update(TableName="${Ledger}"),
    ),
    "unused substitution": (
        "${UploadQueue} is not used",
        lambda s: s["SendToQueue"]["Arguments"].update(QueueUrl="https://sqs.invalid/queue"),
    ),
    "a substitution for a number": (
        "TimeoutSeconds is the text",
        lambda s: s["Deliver"].update(TimeoutSeconds="${DeliverFunction}"),
    ),
    "unknown action": ("has no action invok", lambda s: s["Deliver"].update(Resource="arn:aws:states:::lambda:invok")),
    "unknown argument": ("has no argument Tablename", lambda s: s["RecordEnhanced"]["Arguments"].update(Tablename="t")),
    "missing argument": ("needs the argument Key", lambda s: s["RecordEnhanced"]["Arguments"].pop("Key")),
    "an argument of the wrong type": (
        "Invalid type for parameter DelaySeconds",
        lambda s: s["SendToQueue"]["Arguments"].update(DelaySeconds="60"),
    ),
    "a text in place of a list": (
        "Invalid type for parameter Entries",
        lambda s: s["PublishEnhanced"]["Arguments"].update(Entries="none"),
    ),
    "unknown argument below another": (
        'Unknown parameter in Entries[0]: "Event"',
        lambda s: s["PublishEnhanced"]["Arguments"]["Entries"][0].update(Event="x"),
    ),
    "misspelt type of an attribute": (
        'Unknown parameter in Key.sk: "s"',
        lambda s: s["RecordEnhanced"]["Arguments"]["Key"].update(sk={"s": "{% $row.sk %}"}),
    ),
    "an attribute without its type": (
        "Invalid type for parameter ExpressionAttributeValues.:submitted",
        lambda s: s["RecordEnhanced"]["Arguments"]["ExpressionAttributeValues"].update({":submitted": "submitted"}),
    ),
    "a value that the expression lacks": (
        ":submitted has no value",
        lambda s: s["RecordEnhanced"]["Arguments"]["ExpressionAttributeValues"].pop(":submitted"),
    ),
    "an expression cut off by a comment": (
        "is not used",
        lambda s: s["RecordEnhanced"]["Arguments"].update(UpdateExpression="SET"),
    ),
    "a reserved word": (
        "STATUS is a reserved word",
        lambda s: s["MarkEndedEarly"]["Arguments"].update(UpdateExpression="SET status = :true"),
    ),
    "a Fail without a cause": ("needs Error and Cause", lambda s: s["NotRecorded"].pop("Cause")),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    what, change = DEFECTS[name]
    assert_found(what, change, "Workflow")


# Defects of the backfill, in its states, in those of a child, and in those of a message batch.
MAP_DEFECTS: dict[str, tuple[str, Change]] = {
    "no catcher of a Map": ("must catch States.ALL", lambda s: s["SendUploads"].pop("Catch")),
    "no catcher inside a child": ("SendBatches: the last catcher", lambda s: child(s)["SendBatches"].pop("Catch")),
    "no catcher inside a batch": ("SendBatch: the last catcher", lambda s: batch(s)["SendBatch"].pop("Catch")),
    "no Comment inside a batch": ("IsBatchSent: there is no Comment", lambda s: batch(s)["IsBatchSent"].pop("Comment")),
    "no Default inside a batch": ("needs a Default", lambda s: batch(s)["IsBatchSent"].pop("Default")),
    "unknown target inside a batch": ("Elsewhere does not", lambda s: batch(s)["PauseBatch"].update(Next="Elsewhere")),
    "a target outside its Map": (
        "NotAllSent does not exist",
        lambda s: batch(s)["PauseBatch"].update(Next="NotAllSent"),
    ),
    "unreachable state inside a child": (
        "NotSent is never reached",
        lambda s: child(s)["SendBatches"].update(Catch=[]),
    ),
    "two states of one name": (
        "two states Sent",
        lambda s: child(s).update(Sent=child(s)["NotSent"]),
    ),
    "no items": ("either Items or ItemReader", lambda s: child(s)["SendBatches"].pop("Items")),
    "items with a reader": ("either Items or ItemReader", lambda s: s["SendUploads"].update(Items="{% [1] %}")),
    "a reader in the inline mode": (
        "distributed mode only",
        lambda s: child(s)["SendBatches"].update(ItemReader=s["SendUploads"]["ItemReader"]),
    ),
    "no item reader there is": (
        "is no item reader",
        lambda s: s["SendUploads"]["ItemReader"].update(Resource="arn:aws:states:::s3:listObjects"),
    ),
    "a reader without a bucket": (
        "needs the arguments",
        lambda s: s["SendUploads"]["ItemReader"]["Arguments"].pop("Bucket"),
    ),
    "a batcher without a size": ("needs a size", lambda s: s["SendUploads"].update(ItemBatcher={})),
    "too high a concurrency inline": ("from 1 to 40", lambda s: child(s)["SendBatches"].update(MaxConcurrency=41)),
    "no maximum concurrency": ("from 1 to 10000", lambda s: s["SendUploads"].pop("MaxConcurrency")),
    "misspelt kind of children": (
        "the processor's config",
        lambda s: s["SendUploads"]["ItemProcessor"]["ProcessorConfig"].update(ExecutionType="Express"),
    ),
    "a parent's variable in a child": (
        "$prefix may not be assigned",
        lambda s: batch(s)["BatchSent"].update(Output="{% $prefix %}"),
    ),
    "one name in two scopes": (
        "$sent is assigned inside a Map and around it",
        lambda s: batch(s)["MakeBatch"]["Assign"].update(sent=0),
    ),
    "broken JSONata inside a batch": (
        "is no JSONata",
        lambda s: batch(s)["PauseBatch"].update(Seconds="{% $power(2, %}"),
    ),
    "unknown action inside a batch": (
        "has no action sendMessages",
        lambda s: batch(s)["SendBatch"].update(Resource="arn:aws:states:::aws-sdk:sqs:sendMessages"),
    ),
}


def child(states: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = states["SendUploads"]["ItemProcessor"]["States"]
    return found


def batch(states: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = child(states)["SendBatches"]["ItemProcessor"]["States"]
    return found


@pytest.mark.parametrize("name", MAP_DEFECTS)
def test_a_defect_of_a_map_is_found(name: str) -> None:
    what, change = MAP_DEFECTS[name]
    assert_found(what, change, "BackfillWorkflow")


def assert_found(what: str, change: Change, machine: str) -> None:
    broken = copy.deepcopy(DEFINITIONS[machine])
    change(broken["States"])
    found = problems(broken, SUBSTITUTIONS[machine])
    assert any(what in one for one in found), found


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("field", ["QueryLanguage", "TimeoutSeconds", "Comment"])
def test_a_missing_field_of_the_whole_is_found(name: str, field: str) -> None:
    definition = {key: value for key, value in DEFINITIONS[name].items() if key != field}
    assert problems(definition, SUBSTITUTIONS[name])


def test_no_expression_is_cut_off_by_a_comment() -> None:
    """In plain YAML scalars, ` #` starts a comment, so DynamoDB's `SET #status` needs quotes."""
    for text in (TEXT, *(file.read_text() for file in FILES)):
        assert re.findall(r"^ *\w*Expression: [^\"'>|].* #.*$", text, re.MULTILINE) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_definition_is_a_plain_file_for_editors(file: Path) -> None:
    """Workflow Studio and VS Code open `*.asl.yaml`, but resolve no anchors, aliases or tags."""
    assert file.name.endswith(".asl.yaml")
    kinds = {type(token) for token in yaml.scan(file.read_text())}
    assert not kinds & {yaml.AnchorToken, yaml.AliasToken, yaml.TagToken}


# The properties of the state machines.


@pytest.mark.parametrize(
    ("name", "role", "logs"),
    [("Workflow", "WorkflowRole", "WorkflowLogs"), ("BackfillWorkflow", "BackfillRole", "BackfillLogs")],
)
def test_it_is_standard_and_logs_errors_without_data(name: str, role: str, logs: str) -> None:
    """Express executions can run twice and end after five minutes. A Distributed Map requires Standard."""
    workflow = properties(name)
    assert workflow["StateMachineType"] == "STANDARD"
    assert written(workflow["RoleArn"]) == f"${{{role}.Arn}}"
    logging = workflow["LoggingConfiguration"]
    assert logging["Level"] in ("ERROR", "ALL")
    assert logging["IncludeExecutionData"] is False
    (destination,) = logging["Destinations"]
    assert written(destination["CloudWatchLogsLogGroup"]["LogGroupArn"]) == f"${{{logs}.Arn}}"


@pytest.mark.parametrize(
    ("state", "function"), [("CheckStatus", "CheckStatusFunction"), ("Deliver", "DeliverFunction")]
)
def test_a_state_outlives_the_function_it_waits_for(state: str, function: str) -> None:
    assert DEFINITION["States"][state]["TimeoutSeconds"] > properties(function)["Timeout"]
    assert DEFINITION["States"][state]["Arguments"]["FunctionName"] == f"${{{function}}}"


def test_the_deadline_comes_before_the_timeout() -> None:
    """Even after a last wait past the deadline, a last poll and delivery with all retries, and the recording."""
    states = DEFINITION["States"]
    deadline = PARAMETERS["MaxWaitMinutes"]["MaxValue"] * 60
    last_poll = deadline * 1.01 + _longest(states["CheckStatus"]) + _longest(states["Deliver"])
    recording = 3 * _longest(states["WriteReport"])
    assert last_poll + recording < DEFINITION["TimeoutSeconds"]


def _longest(task: dict[str, Any]) -> float:
    """The seconds that a task and its retries can take, without the negligible time of service calls."""
    retrier = task["Retry"][-1]
    delays = [
        min(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** number, retrier.get("MaxDelaySeconds", 10**9))
        for number in range(retrier["MaxAttempts"])
    ]
    return float(sum(delays) + task.get("TimeoutSeconds", 0) * (len(delays) + 1))
