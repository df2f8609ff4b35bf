"""Audits policy documents with parliament: `python tests/audit_policies.py`, with parliament's Python.

Reads a list of `name`, `kind`, and `document` as JSON from standard input. Prints each finding that is not known.
"""

import copy
import json
import sys

from parliament import analyze_policy_string

_EXPRESS = '[{"action": "states:DescribeExecution", "required_format": "arn:*:states:*:*:express:*:*:*"}]'
_ALARMS = '["cloudwatch:DescribeAlarms"]'
# What parliament finds that is as intended: policy, issue, and detail, each with the reason.
KNOWN = {
    (
        "WorkflowExecutionsPolicy",
        "RESOURCE_MISMATCH",
        _EXPRESS,
    ): "The action needs one of two kinds of executions, not both.",
    ("BackfillChildrenPolicy", "RESOURCE_MISMATCH", _EXPRESS): "The same.",
    (
        "SubmitDeploymentRole/deployment",
        "RESOURCE_STAR",
        _ALARMS,
    ): "CloudWatch requires * where the answer can have composite alarms.",
    ("CheckStatusDeploymentRole/deployment", "RESOURCE_STAR", _ALARMS): "The same.",
    ("DeliverDeploymentRole/deployment", "RESOURCE_STAR", _ALARMS): "The same.",
    ("EncryptionKey", "MISMATCHED_TYPE", '"Type mismatch: ArnLike requires a value of type Arn but given String"'): (
        "AWS's policy for CloudWatch Logs has it with ArnLike (CloudWatch Logs User Guide: Encrypt log data)."
    ),
    (
        "EncryptionKey",
        "UNKNOWN_CONDITION_FOR_ACTION",
        '"Unknown condition kms:EncryptionContext:aws:logs:arn for action kms:DescribeKey"',
    ): "The same policy has it.",
}
# Defects that parliament has to find, so that this check can fail.
DEFECTS = {
    "UNKNOWN_ACTION": {"Action": "s3:GetObjects"},
    "UNKNOWN_PREFIX": {"Action": "s4:GetObject"},
    "RESOURCE_MISMATCH": {"Resource": "arn:aws:s3:::photos"},
    "INVALID_ARN": {"Resource": "photos/*"},
    "UNKNOWN_CONDITION_FOR_ACTION": {"Condition": {"StringEquals": {"s3:prefix": "a"}}},
    "UNKNOWN_OPERATOR": {"Condition": {"StringIs": {"aws:ResourceAccount": "123456789012"}}},
}
SOUND = {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}


def findings(document: dict, kind: str = "PolicyDocument") -> set[tuple[str, str]]:
    """Issue and detail of each finding. In a key's policy, * is the key itself."""
    policy = copy.deepcopy(document)
    for statement in policy["Statement"]:
        # Parliament knows policies of identities. In all others, a Principal precedes the same.
        statement.pop("Principal", None)
        statement.setdefault("Resource", "*")
    found = analyze_policy_string(json.dumps(policy)).findings
    found = [one for one in found if (kind, one.issue) != ("KeyPolicy", "RESOURCE_STAR")]
    return {(one.issue, json.dumps(one.detail) if one.detail else "") for one in found}


def main() -> str | None:
    for issue, change in DEFECTS.items():
        found = findings({"Version": "2012-10-17", "Statement": [SOUND | change]})
        if issue not in {one for one, _ in found}:
            return f"Parliament does not find {issue} in {change}, only {found}."
    policies = [one for one in json.load(sys.stdin) if one["kind"] != "AssumeRolePolicyDocument"]
    found = {
        (one["name"], issue, detail) for one in policies for issue, detail in findings(one["document"], one["kind"])
    }
    print(f"parliament: {len(policies)} policy documents, {len(found - set(KNOWN))} findings, {len(KNOWN)} known ones")
    unknown = [f"{name}: {issue} {detail}" for name, issue, detail in sorted(found - set(KNOWN))]
    return "\n".join(unknown + [f"Not found any more: {one}" for one in sorted(set(KNOWN) - found)]) or None


if __name__ == "__main__":
    sys.exit(main())
