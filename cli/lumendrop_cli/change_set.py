"""CloudFormation's change sets: creates one, waits for it, and explains it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lumendrop_cli import polling
from lumendrop_cli.errors import AWS_ERROR, CliError
from lumendrop_cli.printer import some_of
from lumendrop_cli.stack import Account

# What the template needs: roles, and a transform with a nested stack.
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
_CREATE_SECONDS = 900
_NO_CHANGES = ("didn't contain changes", "no updates are to be performed")
# The resources that hold data, and what is lost with them.
_DATA = {
    "AWS::S3::Bucket": "photos",
    "AWS::DynamoDB::Table": "the ledger, without which photos are paid for again",
    "AWS::KMS::Key": "the key, without which photos and ledger can't be read",
    "AWS::SecretsManager::Secret": "the API key of the enhancer",
    "AWS::SQS::Queue": "uploads that wait",
}


@dataclass(frozen=True)
class Change:
    """One change of a resource. `action` is create, change, replace, may replace, or delete."""

    action: str
    logical_id: str
    type: str
    kept: bool


@dataclass(frozen=True)
class ChangeSet:
    """A change set that can be executed. `kind` is CREATE or UPDATE."""

    arn: str
    stack_id: str
    kind: str
    changes: list[Change]


def create_change_set(
    account: Account, stack: str, kind: str, template_url: str, parameters: list[dict[str, Any]]
) -> ChangeSet | None:
    """Creates a change set. Returns None if nothing would change. Raises CliError if CloudFormation refuses it."""
    created = account.client("cloudformation").create_change_set(
        StackName=stack,
        ChangeSetName=f"lumendrop-{secrets.token_hex(8)}",
        ChangeSetType=kind,
        TemplateURL=template_url,
        Parameters=parameters,
        Capabilities=CAPABILITIES,
    )
    change_set = ChangeSet(created["Id"], created["StackId"], kind, [])
    try:
        return _completed(account, change_set)
    except BaseException:  # also Ctrl-C
        discard(account, change_set)
        raise


def _completed(account: Account, change_set: ChangeSet) -> ChangeSet | None:
    pages = polling.poll_until(lambda: _described(account, change_set), _CREATE_SECONDS)
    if pages is None:
        raise CliError(f"CloudFormation did not create the change set within {_CREATE_SECONDS // 60} minutes.")
    status, reason = pages[0]["Status"], pages[0].get("StatusReason", "")
    if status != "FAILED":
        changes = [_change(one["ResourceChange"]) for page in pages for one in page.get("Changes", [])]
        return ChangeSet(change_set.arn, change_set.stack_id, change_set.kind, changes)
    if any(text in reason.lower() for text in _NO_CHANGES):
        discard(account, change_set)
        return None
    raise CliError(f"CloudFormation refuses the change: {reason.rstrip('.')}. Nothing was changed.", AWS_ERROR)


def _described(account: Account, change_set: ChangeSet) -> list[dict[str, Any]] | None:
    """All pages of the description, or None while CloudFormation creates the change set."""
    wanted = {"ChangeSetName": change_set.arn, "StackName": change_set.stack_id}
    pages = [account.client("cloudformation").describe_change_set(**wanted)]
    if pages[0]["Status"] not in ("CREATE_COMPLETE", "FAILED"):
        return None
    while token := pages[-1].get("NextToken"):
        pages.append(account.client("cloudformation").describe_change_set(**wanted, NextToken=token))
    return pages


def _change(found: dict[str, Any]) -> Change:
    replaces = {"True": "replace", "Conditional": "may replace"}.get(found.get("Replacement", ""))
    action = {"Add": "create", "Remove": "delete"}.get(found["Action"]) or replaces or "change"
    kept = found.get("PolicyAction") in ("Retain", "ReplaceAndRetain")
    return Change(action, found["LogicalResourceId"], found["ResourceType"], kept)


def discard(account: Account, change_set: ChangeSet) -> None:
    """Deletes a change set that is not executed, and the empty stack that CloudFormation created for it.

    Somebody else may review another change set of the same stack, or execute it. Then the stack stays.
    """
    with suppress(ClientError):  # nothing depends on it
        cloudformation = account.client("cloudformation")
        cloudformation.delete_change_set(ChangeSetName=change_set.arn, StackName=change_set.stack_id)
        if change_set.kind == "CREATE" and _is_empty(account, change_set.stack_id):
            cloudformation.delete_stack(StackName=change_set.stack_id)


def _is_empty(account: Account, stack_id: str) -> bool:
    """Whether a stack has nothing but what CloudFormation creates for a change set."""
    cloudformation = account.client("cloudformation")
    others = cloudformation.list_change_sets(StackName=stack_id)["Summaries"]
    (stack,) = cloudformation.describe_stacks(StackName=stack_id)["Stacks"]
    return stack["StackStatus"] == "REVIEW_IN_PROGRESS" and stack_id not in (one["StackId"] for one in others)


def summary(change_set: ChangeSet) -> Iterator[str]:
    """What is created, changed, replaced, and deleted."""
    for action, text in _ACTIONS.items():
        found = [one for one in change_set.changes if one.action == action]
        if not found:
            continue
        yield f"{text} {len(found):,} {'resource' if len(found) == 1 else 'resources'}:"
        yield from (
            _by_type(found) if action == "create" else some_of([f"{one.logical_id} ({one.type})" for one in found])
        )


_ACTIONS = {
    "create": "Creates",
    "change": "Changes",
    "replace": "Replaces",
    "may replace": "May replace",
    "delete": "Deletes",
}


def _by_type(changes: Sequence[Change]) -> Iterator[str]:
    counts = Counter(one.type.removeprefix("AWS::").replace("::", " ") for one in changes)
    for service, count in sorted(counts.items()):
        yield f"  {count:>3} {service}"


def warnings(change_set: ChangeSet) -> Iterator[str]:
    """A sentence for each resource whose data the stack would no longer have."""
    for one in change_set.changes:
        if one.type in _DATA and one.action in _LOSSES:
            after = "It stays in the account, outside the stack" if one.kept else "It is DELETED"
            yield f"{one.logical_id} {_LOSSES[one.action]}. {after}. It holds {_DATA[one.type]}."


_LOSSES = {
    "replace": "is replaced by an empty one",
    "may replace": "may be replaced by an empty one",
    "delete": "leaves the stack",
}
