"""Workflows run as Step Functions runs them: errors, times, names, and concurrent executions."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.backend import execution

from sandbox.aws.cloud import Cloud

Execute = Callable[..., dict[str, Any]]


def invoke(cloud: Cloud, function: str = "Checker", **state: Any) -> dict[str, Any]:
    """A state machine with one task, which invokes a function with the input and catches its error."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": cloud.resources[f"{function}Aliaslive"], "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload.word %}",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        "End": True,
        **state,
    }
    return {"StartAt": "Task", "States": {"Task": task, "Caught": {"Type": "Succeed"}}}


def evaluate(**fields: str) -> dict[str, Any]:
    state = {"Type": "Pass", "Output": fields, "End": True}
    return {"StartAt": "Pass", "States": {"Pass": state}}


def test_the_stacks_workflow_loops_writes_and_publishes(cloud: Cloud, execute: Execute) -> None:
    ended = execute({"enough": 2, "wait": 0, "note": 'a "quoted" \\ text'})
    assert ended["status"] == "SUCCEEDED"
    name = ended["name"]
    row = cloud.client("dynamodb").get_item(TableName=cloud.resources["Table"], Key={"id": {"S": name}})["Item"]
    assert (row["word"]["S"], row["polls"]["N"]) == ("from the layer", "2")
    report = cloud.client("s3").get_object(Bucket=cloud.outputs["BucketName"], Key=f"out/{name}.json")
    assert report["ContentType"] == "application/json"
    body = json.load(report["Body"])
    assert (body["greeting"], body["word"]) == ("hello", "from the layer")
    assert len(body["started"]) == len("2026-01-31T12:00:00.123Z")


def test_an_exception_is_caught_by_its_type(cloud: Cloud, execute: Execute) -> None:
    ended = execute({"do": "refuse", "enough": 1, "polls": 0})
    assert ended["status"] == "SUCCEEDED"
    row = cloud.client("dynamodb").get_item(TableName=cloud.resources["Table"], Key={"id": {"S": ended["name"]}})
    assert row["Item"]["word"]["S"] == "Refused"


@pytest.mark.parametrize(
    ("function", "event", "error", "cause"),
    [
        ("Checker", {"do": "refuse"}, "Refused", '"errorMessage":"no"'),
        ("Checker", {"do": "exit", "code": 3}, "Runtime.ExitError", "exit status 3"),
        ("Brief", {"do": "sleep", "seconds": 30}, "Sandbox.Timedout", "timed out after 1.00 seconds"),
    ],
)
def test_catch_gets_lambdas_error_name(
    cloud: Cloud, execute: Execute, function: str, event: dict[str, Any], error: str, cause: str
) -> None:
    caught = json.loads(execute(event, invoke(cloud, function))["output"])
    assert caught["Error"] == error
    assert cause in caught["Cause"]


def test_errors_of_services_have_aws_names(cloud: Cloud, execute: Execute) -> None:
    bucket, table = cloud.outputs["BucketName"], cloud.resources["Table"]
    calls = {
        "DynamoDB.ConditionalCheckFailedException": (
            "arn:aws:states:::dynamodb:updateItem",
            {"TableName": table, "Key": {"id": {"S": "none"}}, "ConditionExpression": "attribute_exists(id)"},
        ),
        "S3.": ("arn:aws:states:::aws-sdk:s3:putObject", {"Bucket": bucket, "Key": "in/x", "Body": "x"}),
    }
    for error, (resource, arguments) in calls.items():
        task = invoke(cloud, Resource=resource, Arguments=arguments)
        assert json.loads(execute({}, task)["output"])["Error"].startswith(error)


@pytest.mark.parametrize("matched", ["States.TaskFailed", "Refused"])
def test_task_failed_matches_a_functions_error(cloud: Cloud, execute: Execute, matched: str) -> None:
    catch = [{"ErrorEquals": [matched], "Output": "caught", "Next": "Caught"}]
    assert execute({"do": "refuse"}, invoke(cloud, Catch=catch))["output"] == '"caught"'


def test_a_task_that_takes_too_long_times_out(cloud: Cloud, execute: Execute, tmp_path: Path) -> None:
    go_on = tmp_path / "continue"
    caught = json.loads(execute({"do": "wait", "until": str(go_on)}, invoke(cloud, TimeoutSeconds=1))["output"])
    go_on.touch()
    assert caught["Error"] == "States.Timeout"


def test_an_execution_that_takes_too_long_times_out(execute: Execute) -> None:
    waiting = {"StartAt": "Wait", "TimeoutSeconds": 1, "States": {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}}
    assert execute({}, waiting)["status"] == "TIMED_OUT"


def test_a_retry_calls_again(cloud: Cloud, execute: Execute) -> None:
    retry = [{"ErrorEquals": ["Refused"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    before = cloud.logs("Checker").count("START ")
    caught = json.loads(execute({"do": "refuse"}, invoke(cloud, Retry=retry))["output"])
    assert caught["Error"] == "Refused"
    assert cloud.logs("Checker").count("START ") == before + 2


def test_fail_computes_its_error_and_cause(execute: Execute) -> None:
    fail = {"Type": "Fail", "Error": "{% $states.input.code %}", "Cause": "{% 'because of ' & $states.input.code %}"}
    ended = execute({"code": "refused"}, {"StartAt": "Fail", "States": {"Fail": fail}})
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "refused", "because of refused")


def test_strings_with_quotes_and_backslashes_survive_as_variables(execute: Execute) -> None:
    text = 'say "hi" \\ {% $x %} \n ü 📷'
    states = {
        "Keep": {"Type": "Pass", "Assign": {"text": "{% $states.input.text %}"}, "Next": "Give"},
        "Give": {"Type": "Pass", "Output": "{% $text %}", "End": True},
    }
    assert json.loads(execute({"text": text}, {"StartAt": "Keep", "States": states})["output"]) == text


def test_jsonata_functions_that_the_workflow_uses(execute: Execute) -> None:
    ended = execute(
        {"a": {"b": 1}, "nothing": None, "list": []},
        evaluate(
            exists="{% $exists($states.input.a.b) %}",
            missing="{% $exists($states.input.a.c) %}",
            is_null="{% $states.input.nothing = null %}",
            merged="{% $merge([$states.input.a, {'c': 2}]) %}",
            millis="{% $toMillis('2026-01-31T12:00:00.123Z') %}",
            text="{% $fromMillis(1769860800123) %}",
            number="{% $string(1769860800) %}",
            half="{% $string(0.5) %}",
            document="{% $string({'ü': ['\"日\"', 1]}) %}",
            chosen="{% 'x' in ['x', 'y'] %}",
            now="{% $toMillis($now()) > $toMillis($states.context.Execution.StartTime) - 1000 %}",
            name="{% $states.context.Execution.Name %}",
            machine="{% $states.context.StateMachine.Name %}",
            state="{% $states.context.State.Name %}",
            parsed="{% $parse('{\"x\": [1]}').x[0] %}",
        ),
    )
    output = json.loads(ended["output"])
    assert output.pop("machine").startswith("test-")
    assert output == {
        "exists": True,
        "missing": False,
        "is_null": True,
        "merged": {"b": 1, "c": 2},
        "millis": 1769860800123,
        "text": "2026-01-31T12:00:00.123Z",
        "number": "1769860800",
        "half": "0.5",
        "document": '{"ü":["\\"日\\"",1]}',
        "chosen": True,
        "now": True,
        "name": ended["name"],
        "state": "Pass",
        "parsed": 1,
    }


@pytest.mark.parametrize("expression", ["$states.input.missing", "$number('x')", "$uuid()", "1 / 'x'"])
def test_an_expression_without_a_result_is_an_evaluation_error(execute: Execute, expression: str) -> None:
    ended = execute({}, evaluate(result=f"{{% {expression} %}}"))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_an_evaluation_error_in_a_task_can_be_caught(cloud: Cloud, execute: Execute) -> None:
    caught = json.loads(execute({}, invoke(cloud, Arguments="{% $number('x') %}"))["output"])
    assert caught["Error"] == "States.QueryEvaluationError"


def test_dozens_of_executions_run_concurrently(cloud: Cloud, execute: Execute) -> None:
    with ThreadPoolExecutor(36) as many:
        ends = list(many.map(lambda _: execute({"enough": 2, "wait": 1}), range(36)))
    assert {ended["status"] for ended in ends} == {"SUCCEEDED"}
    rows = cloud.client("dynamodb").scan(TableName=cloud.resources["Table"])["Items"]
    assert {ended["name"] for ended in ends} <= {row["id"]["S"] for row in rows}


def test_a_name_starts_one_execution(cloud: Cloud, eventually: Callable[..., Any]) -> None:
    states = cloud.client("stepfunctions")
    start = {"stateMachineArn": cloud.outputs["WorkflowArn"], "name": "once", "input": '{"enough": 1, "wait": 0}'}
    with ThreadPoolExecutor(8) as many:
        started = list(many.map(lambda _: states.start_execution(**start)["executionArn"], range(8)))
    assert len(set(started)) == 1
    eventually(lambda: states.describe_execution(executionArn=started[0])["status"] == "SUCCEEDED")
    executions = states.list_executions(stateMachineArn=cloud.outputs["WorkflowArn"])["executions"]
    assert [execution["name"] for execution in executions].count("once") == 1
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(**start)


def test_the_end_of_an_execution_is_an_event(cloud: Cloud, execute: Execute, eventually: Callable[..., Any]) -> None:
    queue = cloud.client("sqs").create_queue(QueueName="ended")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue.rpartition('/')[2]}"
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    cloud.client("sqs").set_queue_attributes(
        QueueUrl=queue, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})}
    )
    events = cloud.client("events")
    events.put_rule(Name="ended", EventPattern='{"source": ["aws.states"], "detail": {"status": ["FAILED"]}}')
    events.put_targets(Rule="ended", Targets=[{"Id": "queue", "Arn": arn}])
    ended = execute({}, {"StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "refused"}}})
    (message,) = eventually(lambda: cloud.client("sqs").receive_message(QueueUrl=queue).get("Messages"))
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert event["detail"]["executionArn"] == ended["executionArn"]
    assert (event["detail"]["status"], event["detail"]["error"]) == ("FAILED", "refused")


def test_a_stopped_execution_ends_quietly(
    cloud: Cloud, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed: list[threading.ExceptHookArgs] = []
    ended: list[object] = []

    def terminate(self: object) -> None:
        ended.append(self)
        raise ConnectionError("the sandbox is closed")

    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(execution.BaseExecutionWorkerCommunication, "terminated", terminate)
    states, arn = cloud.client("stepfunctions"), cloud.outputs["WorkflowArn"]
    role = states.describe_state_machine(stateMachineArn=arn)["roleArn"]
    definition = {"QueryLanguage": "JSONata", **invoke(cloud)}
    machine = states.create_state_machine(name="stopped", definition=json.dumps(definition), roleArn=role)
    go_on = tmp_path / "go-on"
    start = json.dumps({"do": "wait", "until": str(go_on)})
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=start)["executionArn"]
    eventually(lambda: len(states.get_execution_history(executionArn=started)["events"]) > 2)
    states.stop_execution(executionArn=started)
    go_on.touch()
    eventually(lambda: ended)
    eventually(lambda: not any("_execution_logic" in thread.name for thread in threading.enumerate()))
    assert not failed


def test_an_execution_that_ends_while_the_sandbox_closes_ends_quietly(
    cloud: Cloud, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[threading.ExceptHookArgs] = []
    events = cloud.client("events")
    events.put_rule(Name="closing", EventPattern='{"source": ["aws.states"], "detail": {"status": ["FAILED"]}}')
    unreachable = "arn:aws:states:us-east-1:123456789012:stateMachine:gone"
    events.put_targets(Rule="closing", Targets=[{"Id": "gone", "Arn": unreachable, "RoleArn": "arn:aws:iam::1:role/a"}])
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(cloud, "is_closing", True)
    states, arn = cloud.client("stepfunctions"), cloud.outputs["WorkflowArn"]
    role = states.describe_state_machine(stateMachineArn=arn)["roleArn"]
    definition = {"QueryLanguage": "JSONata", "StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "x"}}}
    machine = states.create_state_machine(name="closing", definition=json.dumps(definition), roleArn=role)
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
    eventually(lambda: states.describe_execution(executionArn=started)["status"] == "FAILED")
    eventually(lambda: not any("_execution_logic" in thread.name for thread in threading.enumerate()))
    events.remove_targets(Rule="closing", Ids=["gone"])
    events.delete_rule(Name="closing")
    assert not failed
