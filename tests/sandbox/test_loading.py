"""The template is translated, and its parameters are checked, before anything is created."""

from pathlib import Path

import pytest

from sandbox.aws.template import TemplateError, load

STACK = Path(__file__).with_name("stack") / "template.yaml"


def test_the_template_becomes_plain_cloudformation() -> None:
    template = load(STACK, {}, "us-east-1")
    kinds = {resource["Type"] for resource in template.body["Resources"].values()}
    assert not any(kind.startswith("AWS::Serverless") for kind in kinds)
    assert "AWS::Lambda::EventSourceMapping" in kinds


def test_code_stays_in_its_folder() -> None:
    template = load(STACK, {}, "us-east-1")
    assert template.code(template.body["Resources"]["Worker"]["Properties"]["Code"]) == STACK.parent / "worker"


def test_defaults_and_given_values_become_text() -> None:
    template = load(STACK, {"Mode": "slow"}, "us-east-1")
    assert template.parameters == {"Greeting": "hello", "Concurrency": "3", "Mode": "slow"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Speed": "fast"}, "the template has no parameter Speed; it has Concurrency, Greeting, Mode"),
        ({"Mode": "medium"}, "parameter Mode: 'medium' breaks AllowedValues ['fast', 'slow']"),
        ({"Greeting": "Hello"}, r"parameter Greeting: 'Hello' breaks AllowedPattern [a-z]+ (lower-case letters only)"),
        ({"Concurrency": "1"}, "parameter Concurrency: '1' breaks MinValue 2"),
        ({"Concurrency": "11"}, "parameter Concurrency: '11' breaks MaxValue 10"),
        ({"Concurrency": "many"}, "parameter Concurrency: 'many' is not a number"),
    ],
)
def test_an_invalid_parameter_is_reported_with_its_constraint(given: dict[str, str], message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        load(STACK, given, "us-east-1")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Parameters: {Name: {Type: String}}\nResources: {}", "parameter Name has no default and was not given"),
        ("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: gone/}}}", "no such directory"),
        ("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: ./}}}", "Handler"),
        ("Resources: {", "template.yaml"),
    ],
)
def test_an_invalid_template_is_reported_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text("Transform: AWS::Serverless-2016-10-31\n" + text)
    with pytest.raises(TemplateError, match=message):
        load(path, {}, "us-east-1")


def test_a_definition_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "machine.asl.yaml").write_text("StartAt: Done\nStates: {Done: {Type: Succeed, Comment: '${Word}'}}")
    (tmp_path / "template.yaml").write_text(
        """
Transform: AWS::Serverless-2016-10-31
Resources:
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties: {DefinitionUri: machine.asl.yaml, DefinitionSubstitutions: {Word: here}}
"""
    )
    machine = load(tmp_path / "template.yaml", {}, "us-east-1").body["Resources"]["Machine"]
    assert "${Word}" in str(machine["Properties"]["DefinitionString"])
