"""Every policy document of the template as AWS gets it, with the longest names that its resources can have.

`python -m tests.template.policies` prints them as JSON, for `tests/audit_policies.py`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tests.template.reading import EVERYTHING, PARAMETERS, REGION, translated

ACCOUNT = "123456789012"
# A longer name would make the topics' display names longer than SNS allows.
STACK = "s" * 93
# What CloudFormation appends to the names that it makes.
RANDOM = "-1A2B3C4D5E6F7"
# Sets of parameters that give each conditional statement once.
VARIANTS: tuple[dict[str, str], ...] = (
    {
        **EVERYTHING,
        "KmsKey": "create",
        "InputPrefix": "p" * 512,
        "PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/{'b' * 128}",
    },
    {
        "KmsKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{'k' * 64}",
        "CompletionTarget": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{'b' * 256}",
        "ExistingInputBucket": "i" * 63,
        "ExistingOutputBucket": "o" * 63,
        "ExistingLedgerTable": f"{'s' * 128}-LedgerTable-1A2B3C4D5E6F7G8H",
    },
)
_LONGEST_NAME = {
    "AWS::S3::Bucket": 63,
    "AWS::SQS::Queue": 80,
    "AWS::IAM::Role": 64,
    "AWS::Lambda::Function": 64,
    "AWS::Events::Rule": 64,
    "AWS::StepFunctions::StateMachine": 80,
}
_ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{here}:{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{here}:{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{here}:table/{name}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:{here}:secret:{name}-a1b2c3",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:{here}:stateMachine:{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{here}:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{here}:log-group:{name}:*",
    "AWS::Events::Rule": "arn:aws:events:{here}:rule/{name}",
    "AWS::KMS::Key": "arn:aws:kms:{here}:key/0a1b2c3d-1234-5678-9abc-0a1b2c3d4e5f",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{here}:alarm:{name}",
    "AWS::IAM::Role": "arn:aws:iam::" + ACCOUNT + ":role/{name}",
}
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::SecretsManager::Secret", "AWS::StepFunctions::StateMachine", "AWS::KMS::Key"}
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}


class Resolver:
    """Replaces references and functions in a part of a translated template."""

    def __init__(self, body: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = body["Resources"]
        self._values = {
            **{name: str(one["Default"]) for name, one in PARAMETERS.items() if "Default" in one},
            **parameters,
            **_PSEUDO,
        }

    def resolve(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self.resolve(one) for one in part]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((function, argument),) = part.items()
            match function:
                case "Ref":
                    return self._named(argument)
                case "Fn::GetAtt":
                    return self._named(argument if isinstance(argument, str) else ".".join(argument))
                case "Fn::Sub":
                    text, own = (argument, {}) if isinstance(argument, str) else argument
                    values = {name: self.resolve(value) for name, value in own.items()}
                    return re.sub(r"\$\{([^!}]+)\}", lambda one: self._substituted(one[1], values), text)
                case "Fn::Join":
                    return argument[0].join(map(str, self.resolve(argument[1])))
                case "Fn::Select":
                    return self.resolve(argument[1])[int(argument[0])]
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
        return {name: self.resolve(value) for name, value in part.items()}

    def _substituted(self, name: str, values: Mapping[str, Any]) -> str:
        return str(values[name] if name in values else self._named(name))

    def _named(self, name: str) -> str:
        if name in self._values:
            return self._values[name]
        resource, _, attribute = name.partition(".")
        kind = self._resources[resource]["Type"]
        if kind == "AWS::Lambda::Alias":
            return f"{self._arn(resource.removesuffix('Aliaslive'), 'AWS::Lambda::Function')}:live"
        if attribute in ("Arn", "TopicArn") or (not attribute and kind in _REF_IS_ARN):
            return self._arn(resource, kind)
        return self._name(resource, kind)

    def _arn(self, resource: str, kind: str) -> str:
        return _ARNS[kind].format(name=self._name(resource, kind), here=f"{REGION}:{ACCOUNT}")

    def _name(self, resource: str, kind: str) -> str:
        if kind == "AWS::Logs::LogGroup":
            return str(self.resolve(self._resources[resource]["Properties"]["LogGroupName"]))
        name = f"{STACK}-{resource}{RANDOM}"[-_LONGEST_NAME.get(kind, 255) :]
        return name.lower() if kind == "AWS::S3::Bucket" else name


def documents(parameters: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Name, kind (the property), and resolved document of every policy."""
    body = translated(**parameters)
    resolver = Resolver(body, parameters)
    for name, resource in body["Resources"].items():
        found = resource["Properties"]
        for kind in ("AssumeRolePolicyDocument", "PolicyDocument", "KeyPolicy"):
            if kind in found:
                yield name, kind, resolver.resolve(found[kind])
        for policy in found.get("Policies", []):
            yield f"{name}/{policy['PolicyName']}", "PolicyDocument", resolver.resolve(policy["PolicyDocument"])


if __name__ == "__main__":
    everything = [
        {"name": name, "kind": kind, "document": document}
        for variant in VARIANTS
        for name, kind, document in documents(variant)
    ]
    json.dump(everything, sys.stdout)
