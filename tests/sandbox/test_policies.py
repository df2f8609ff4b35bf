"""Evaluation of policy documents."""

import json
from typing import Any

import pytest

from sandbox.aws.policies import Question, UnknownOperator, allowed, statements

ROLE = "arn:aws:iam::123456789012:role/submit"
OBJECT = "arn:aws:s3:::photos/in/a*b.jpg"


def says(*policy: dict[str, Any], principal: str = ROLE, action: str = "s3:GetObject", **context: str) -> bool:
    return allowed(statements({"Statement": list(policy)}), Question(principal, action, OBJECT, context))


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*", **elements}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ([allow()], True),
        ([], False),
        ([allow(Action="s3:PutObject")], False),
        ([allow(Action=["s3:PutObject", "S3:getobject"])], True),
        ([allow(Action="s3:Get*")], True),
        ([allow(Resource="arn:aws:s3:::photos")], False),
        ([allow(Resource="arn:aws:s3:::photos/in/?*b.jpg")], True),
        ([allow(Resource="arn:aws:s3:::photos/out/*")], False),
        ([allow(), allow(Effect="Deny", Resource="*")], False),
        ([allow(), allow(Effect="Deny", NotAction="s3:GetObject", Action=None)], True),
        ([allow(NotResource="arn:aws:s3:::photos/in/*")], False),
        ([allow(Principal="*")], True),
        ([allow(Principal={"AWS": ROLE})], True),
        ([allow(Principal={"AWS": "arn:aws:iam::123456789012:root"})], True),
        ([allow(Principal={"AWS": "210987654321"})], False),
        ([allow(Principal={"Service": "events.amazonaws.com"})], False),
    ],
)
def test_actions_resources_and_principals(policy: list[dict[str, Any]], expected: bool) -> None:
    assert says(*policy) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:Colour": ["red", "blue"]}}, True),
        ({"StringEquals": {"aws:Colour": "green"}}, False),
        ({"StringLike": {"aws:colour": "bl*"}}, True),
        ({"StringNotEquals": {"aws:Colour": "blue"}}, False),
        ({"StringNotEquals": {"aws:Missing": "blue"}}, True),
        ({"StringEquals": {"aws:Missing": "blue"}}, False),
        ({"StringEqualsIfExists": {"aws:Missing": "blue"}}, True),
        ({"Bool": {"aws:Secure": "false"}}, False),
        ({"ArnEquals": {"aws:Source": "arn:aws:events:*:*:rule/uploads"}}, True),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    context = {
        "aws:colour": "blue",
        "aws:secure": "true",
        "aws:source": "arn:aws:events:us-east-1:123456789012:rule/uploads",
    }
    assert says(allow(Condition=condition), **context) is expected


def test_a_denial_of_plain_http_does_not_deny_https() -> None:
    deny = allow(Effect="Deny", Principal="*", Action="s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    assert says(allow(), deny, **{"aws:securetransport": "true"})
    assert not says(allow(), deny, **{"aws:securetransport": "false"})


def test_a_service_is_a_principal() -> None:
    policy = allow(Principal={"Service": ["events.amazonaws.com"]})
    assert says(policy, principal="events.amazonaws.com")
    assert not says(policy, principal="lambda.amazonaws.com")


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(UnknownOperator):
        says(allow(Condition={"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}))


def test_documents_may_be_json_and_a_single_statement() -> None:
    assert statements(json.dumps({"Statement": allow()})) == [allow()]
