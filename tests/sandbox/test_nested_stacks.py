"""A nested stack is deployed from the file that TemplateURL names, as AWS deploys it."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest

from sandbox.aws.cloud import Cloud
from sandbox.aws.template import TemplateError, load
from tests.sandbox import NAME

REPO = Path(__file__).resolve().parents[2]


def describe(cloud: Cloud, stack: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return found


def resources(cloud: Cloud, stack: str) -> dict[str, dict[str, Any]]:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return {one["LogicalResourceId"]: one for page in pages for one in page["StackResourceSummaries"]}


def test_the_physical_id_is_the_nested_stacks_arn(cloud: Cloud) -> None:
    nested = resources(cloud, NAME)["Nested"]
    assert nested["ResourceType"] == "AWS::CloudFormation::Stack"
    assert nested["PhysicalResourceId"] == cloud.resources["Nested"]
    stack = describe(cloud, cloud.resources["Nested"])
    assert stack["StackId"] == cloud.resources["Nested"]
    assert stack["StackName"].startswith(f"{NAME}-Nested-")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert stack["Tags"] == [{"Key": "purpose", "Value": "test"}]


def test_a_nested_stack_names_its_parent_and_root(cloud: Cloud) -> None:
    root, nested = (describe(cloud, name) for name in (NAME, cloud.resources["Nested"]))
    innermost = describe(cloud, cloud.resources["Innermost"])
    assert nested["ParentId"] == nested["RootId"] == root["StackId"]
    assert (innermost["ParentId"], innermost["RootId"]) == (nested["StackId"], root["StackId"])
    assert "ParentId" not in root


def test_parameters_reach_the_nested_stack(cloud: Cloud) -> None:
    alarms = cloud.client("cloudwatch").describe_alarms(AlarmNames=[cloud.resources["NestedAlarm"]])["MetricAlarms"]
    assert alarms[0]["Threshold"] == 7
    assert alarms[0]["Dimensions"][0]["Value"] == cloud.resources["DeadLetters"].rpartition("/")[2]
    stack = describe(cloud, cloud.resources["Nested"])
    assert {"ParameterKey": "WithTopic", "ParameterValue": "yes"} in stack["Parameters"]


def test_conditions_decide_on_resources_and_outputs_of_the_nested_stack(cloud: Cloud) -> None:
    topics = [one["TopicArn"] for one in cloud.client("sns").list_topics()["Topics"]]
    assert topics == [cloud.resources["NestedTopic"]]


def test_outputs_of_nested_stacks_reach_the_parent(cloud: Cloud) -> None:
    assert ":alarm:" in cloud.outputs["NestedAlarmArn"]
    queue = cloud.resources["InnermostQueue"].rpartition("/")[2]
    assert cloud.outputs["NestedNames"] == f"{cloud.resources['NestedTopic']} {queue}"


def test_code_of_a_nested_function_is_next_to_the_nested_template(cloud: Cloud) -> None:
    assert cloud.invoke("NestedFunction", {}) == "hello+fast"


def test_the_outer_stacks_resource_hides_a_nested_one_of_the_same_name(cloud: Cloud) -> None:
    assert cloud.resources["Queue"] == resources(cloud, NAME)["Queue"]["PhysicalResourceId"]
    assert cloud.resources["Queue"] != resources(cloud, cloud.resources["Nested"])["Queue"]["PhysicalResourceId"]


def nesting(tmp_path: Path, url: str, nested: str = "") -> Path:
    if nested:
        (tmp_path / "nested.yaml").write_text(nested)
    path = tmp_path / "template.yaml"
    properties = f"{{TemplateURL: '{url}'}}"
    path.write_text(f"Resources: {{Nested: {{Type: 'AWS::CloudFormation::Stack', Properties: {properties}}}}}")
    return path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gone.yaml", "TemplateURL 'gone.yaml': there is no such file in"),
        ("https://bucket.s3.amazonaws.com/nested.yaml", "the sandbox deploys only templates from files"),
    ],
)
def test_a_template_url_without_a_file_is_an_error(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load(nesting(tmp_path, url), {}, "us-east-1")


SCRIPT = """
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
from sandbox.aws.cloud import Cloud

with Cloud(Path(sys.argv[1]), "parent") as cloud:
    cloudformation, queues = cloud.client("cloudformation"), lambda: cloud.client("sqs").list_queues().get("QueueUrls")
    before = bool(queues())
    cloudformation.delete_stack(StackName="parent")
    print(before, queues(), [one["StackName"] for one in cloudformation.describe_stacks()["Stacks"]])
"""


def test_deleting_the_parent_deletes_the_nested_stack(tmp_path: Path) -> None:
    path = nesting(tmp_path, "nested.yaml", "Resources: {Queue: {Type: 'AWS::SQS::Queue'}}")
    assert run_script(path).splitlines() == ["True None []"]


def test_a_nested_parameter_that_breaks_its_constraint_is_an_error(tmp_path: Path) -> None:
    nested = "Parameters: {Name: {Type: String}}\nResources: {Queue: {Type: 'AWS::SQS::Queue'}}"
    path = nesting(tmp_path, "nested.yaml", nested)
    assert "parameter Name has no default and was not given" in run_script(path)


def run_script(template: Path) -> str:
    """In a program of its own: a cloud is open here already."""
    command = [sys.executable, "-c", SCRIPT, str(template)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.run(command, env=environment, stdout=PIPE, stderr=STDOUT, text=True, check=False).stdout
