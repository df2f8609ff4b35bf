"""The explanation of changes that the sandbox can't produce: replacements, as CloudFormation describes them."""

from typing import Any

import pytest

from lumendrop_cli.change_set import ChangeSet, create_change_set, summary, warnings
from lumendrop_cli.errors import CliError
from lumendrop_cli.stack import Account

TABLE = {"LogicalResourceId": "LedgerTable", "ResourceType": "AWS::DynamoDB::Table", "Action": "Modify"}


class CloudFormation:
    """Describes a change set in pages, the first time as still in progress."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages, self.deleted = [{"Status": "CREATE_IN_PROGRESS"}, *pages], list[str]()

    def create_change_set(self, **_: Any) -> dict[str, str]:
        return {"Id": "change-set", "StackId": "stack"}

    def describe_change_set(self, **_: Any) -> dict[str, Any]:
        return self.pages.pop(0)

    def delete_change_set(self, **wanted: str) -> None:
        self.deleted.append(wanted["ChangeSetName"])

    def list_change_sets(self, **_: str) -> dict[str, Any]:
        return {"Summaries": []}


def create(service: CloudFormation) -> ChangeSet | None:
    account = Account("123456789012", "us-east-1", "aws", lambda _: service)
    return create_change_set(account, "lumendrop", "UPDATE", "https://…", [])


def page(*changes: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": one} for one in changes], **more}


@pytest.mark.parametrize(
    ("change", "line", "warning"),
    [
        (
            {"Replacement": "True", "PolicyAction": "ReplaceAndDelete"},
            "Replaces 1 resource:",
            "is replaced by an empty one. It is DELETED. It holds the ledger, without which photos are paid for again.",
        ),
        (
            {"Replacement": "Conditional", "PolicyAction": "ReplaceAndRetain"},
            "May replace 1 resource:",
            "may be replaced by an empty one. It stays in the account, outside the stack. It holds the ledger",
        ),
        ({"Action": "Remove", "PolicyAction": "Delete"}, "Deletes 1 resource:", "leaves the stack. It is DELETED."),
        ({"Replacement": "False"}, "Changes 1 resource:", ""),
        ({"Action": "Dynamic"}, "Changes 1 resource:", ""),
    ],
)
def test_a_loss_of_the_ledger_is_named(change: dict[str, str], line: str, warning: str) -> None:
    other = {"LogicalResourceId": "UploadRule", "ResourceType": "AWS::Events::Rule", "Action": "Add"}
    created = create(CloudFormation(page(other, NextToken="more"), page(TABLE | change)))
    assert created
    assert list(summary(created)) == [
        "Creates 1 resource:",
        "    1 Events Rule",
        line,
        "  LedgerTable (AWS::DynamoDB::Table)",
    ]
    found = list(warnings(created))
    assert len(found) == bool(warning)
    assert not found or f"LedgerTable {warning}" in found[0]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_no_changes_are_no_error(reason: str) -> None:
    service = CloudFormation({"Status": "FAILED", "StatusReason": reason})
    assert create(service) is None
    assert service.deleted == ["change-set"]


def test_a_refused_change_set_is_deleted_and_its_reason_shown() -> None:
    service = CloudFormation({"Status": "FAILED", "StatusReason": "Transform AWS::Serverless-2016-10-31 failed."})
    with pytest.raises(CliError, match=r"refuses the change: Transform AWS::Serverless-2016-10-31 failed\. Nothing"):
        create(service)
    assert service.deleted == ["change-set"]
