"""AWS's limits on what the templates contain, with the longest names and parameters that are allowed.

The 256 characters of a version's description are in `test_deployment.py`, those of alarms in `test_metrics.py`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from sandbox.aws.template import load
from tests.template.asl import all_states
from tests.template.policies import STACK, VARIANTS, Resolver
from tests.template.reading import DEFINITIONS, MONITORING, REGION, ROOT, TEMPLATE, translated, unresolved

MIB = 1_048_576
ENCODED = {"separators": (",", ":"), "ensure_ascii": False}
# Bytes. Sources: IAM and AWS STS quotas; Amazon S3: bucket policies; Amazon SQS: policy quotas; Amazon SNS:
# SetTopicAttributes; AWS KMS: resource quotas.
ROLE_POLICIES, TRUST_POLICY = 10_240, 2_048
RESOURCE_POLICIES = {
    "AWS::S3::BucketPolicy": 20_480,
    "AWS::SQS::QueuePolicy": 8_192,
    "AWS::SNS::TopicPolicy": 30_720,
    "AWS::KMS::Key": 32_768,
}
# Longest texts of properties. Sources: AWS CloudFormation template reference, and the API reference of each service.
TEXTS = {
    ("AWS::Lambda::Function", "Description"): 256,
    ("AWS::Lambda::LayerVersion", "Description"): 256,
    ("AWS::Events::Rule", "Description"): 512,
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::Logs::QueryDefinition", "Name"): 255,
    ("AWS::Logs::QueryDefinition", "QueryString"): 10_000,
    ("AWS::SNS::Topic", "DisplayName"): 100,
    ("AWS::KMS::Key", "Description"): 8_192,
}
EVENT_PATTERN = 2_048  # characters (Amazon EventBridge quotas)
ENVIRONMENT = 4_096  # bytes (Lambda quotas)
WIDGETS, METRICS_PER_WIDGET = 500, 500  # Amazon CloudWatch service quotas

# The longest value of each parameter that is part of a text.
LONGEST = {
    "ApiBaseUrl": "https://" + "a" * 56,
    "Creativity": "0.123456",
    "Resemblance": "0.123456",
    "ProfileIds": "p" * 110,
}


def excesses(body: dict[str, Any], parameters: dict[str, str]) -> Iterator[str]:
    """Whatever is too large in a translated template."""
    resolver = Resolver(body, parameters)
    role_policies: dict[str, int] = {}
    for name, resource in body["Resources"].items():
        kind, found = resource["Type"], resolver.resolve(resource["Properties"])
        for field in found:
            if (kind, field) in TEXTS and len(found[field]) > TEXTS[kind, field]:
                yield f"{name}: {field}"
        if kind == "AWS::IAM::Role":
            own = sum(size(one["PolicyDocument"]) for one in found["Policies"])
            role_policies[name] = role_policies.get(name, 0) + own
            yield from too_large(f"{name}: trust policy", size(found["AssumeRolePolicyDocument"]), TRUST_POLICY)
        if kind == "AWS::IAM::Policy":
            for role in resource["Properties"]["Roles"]:
                role_policies[role["Ref"]] = role_policies.get(role["Ref"], 0) + size(found["PolicyDocument"])
        if kind in RESOURCE_POLICIES:
            document = found["KeyPolicy" if kind == "AWS::KMS::Key" else "PolicyDocument"]
            yield from too_large(f"{name}: policy", size(document), RESOURCE_POLICIES[kind])
        if kind == "AWS::Events::Rule" and "EventPattern" in found:
            yield from too_large(f"{name}: event pattern", size(found["EventPattern"]), EVENT_PATTERN)
        if kind == "AWS::Lambda::Function":
            yield from too_large(f"{name}: environment", size(found["Environment"]["Variables"]), ENVIRONMENT)
        if kind == "AWS::CloudWatch::Dashboard":
            yield from dashboard(name, json.loads(found["DashboardBody"]))
    for role, total in role_policies.items():
        yield from too_large(f"{role}: policies", total, ROLE_POLICIES)


def dashboard(name: str, body: dict[str, Any]) -> Iterator[str]:
    yield from too_large(f"{name}: widgets", len(body["widgets"]), WIDGETS)
    for widget in body["widgets"]:
        metrics = len(widget["properties"].get("metrics", []))
        yield from too_large(f"{name}: metrics", metrics, METRICS_PER_WIDGET)


def size(document: Any) -> int:
    return len(json.dumps(document, **ENCODED).encode())


def too_large(what: str, measured: int, limit: int) -> Iterator[str]:
    if measured > limit:
        yield f"{what} has {measured}, at most {limit} are allowed"


@cache
def largest(number: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The template with everything, and with the longest names of existing resources."""
    parameters = VARIANTS[number] | LONGEST
    return translated(**parameters), parameters


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_nothing_is_too_large(number: int) -> None:
    body, parameters = largest(number)
    assert list(excesses(body, parameters)) == []


def pad_policy(resources: dict[str, Any], name: str, field: str = "PolicyDocument") -> None:
    document = resources[name]["Properties"][field]
    document["Statement"] += [copy.deepcopy(document["Statement"][-1]) for _ in range(150)]


DEFECTS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "role": ("BackfillRole: policies has", lambda r: pad_policy(r, "BackfillChildrenPolicy")),
    "trust": (
        "SubmitRole: trust policy has",
        lambda r: pad_policy(r, "SubmitRole", "AssumeRolePolicyDocument"),
    ),
    "bucket": ("InputBucketPolicy: policy has", lambda r: pad_policy(r, "InputBucketPolicy")),
    "queue": ("QueuePolicy: policy has", lambda r: pad_policy(r, "QueuePolicy")),
    "topic": ("AlarmTopicPolicy: policy has", lambda r: pad_policy(r, "AlarmTopicPolicy")),
    "key": ("EncryptionKey: policy has", lambda r: pad_policy(r, "EncryptionKey", "KeyPolicy")),
    "pattern": (
        "UploadRule: event pattern has",
        lambda r: r["UploadRule"]["Properties"]["EventPattern"].update(resources=["r" * 2000]),
    ),
    "environment": (
        "SubmitFunction: environment has",
        lambda r: r["SubmitFunction"]["Properties"]["Environment"]["Variables"].update(MORE="x" * 4000),
    ),
    "text": (
        "DeliverFunction: Description",
        lambda r: r["DeliverFunction"]["Properties"].update(Description="d" * 257),
    ),
    "widgets": (
        "PhotosDashboard: widgets has 501",
        lambda r: r["PhotosDashboard"]["Properties"].update(
            DashboardBody=json.dumps({"widgets": [{"properties": {}}] * 501})
        ),
    ),
    "metrics": (
        "PhotosDashboard: metrics has 501",
        lambda r: r["PhotosDashboard"]["Properties"].update(
            DashboardBody=json.dumps({"widgets": [{"properties": {"metrics": [["A", "B"]] * 501}}]})
        ),
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_what_is_too_large_is_found(name: str) -> None:
    what, change = DEFECTS[name]
    body, parameters = largest(0)
    body = copy.deepcopy(body)
    change(body["Resources"])
    assert any(one.startswith(what) for one in excesses(body, parameters))


@pytest.mark.parametrize("path", [TEMPLATE, MONITORING], ids=lambda path: path.name)
def test_a_template_is_at_most_a_mebibyte(path: Any) -> None:
    """Before and after its translation. CloudFormation reads both from S3."""
    assert len(path.read_bytes()) < MIB
    body = unresolved(path)
    assert size(body) < MIB
    assert len(body["Resources"]) <= 500
    assert max(len(body.get(section, {})) for section in ("Parameters", "Outputs", "Mappings")) <= 200
    assert len(body["Description"].encode()) <= 1_024
    assert max(len(one.get("Description", "")) for one in body["Parameters"].values()) <= 4_000


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_is_at_most_a_mebibyte(name: str) -> None:
    definition = DEFINITIONS[name]
    assert size(definition) < MIB
    assert max(len(state) for state, _ in all_states(definition)) <= 80


def test_the_limit_of_the_stacks_name_is_documented() -> None:
    assert f"| name of the stack | {len(STACK)} characters" in (ROOT / "docs/limits.md").read_text()


def test_the_parameters_of_this_test_are_allowed() -> None:
    load(TEMPLATE, largest(0)[1], REGION)
