"""Follows what CloudFormation does with a stack, and finds the first error."""

from __future__ import annotations

import re
from typing import Any

from lumendrop_cli import polling
from lumendrop_cli.printer import Progress
from lumendrop_cli.stack import Account

Event = dict[str, Any]

# A canary of all three functions alone takes more than ten minutes.
MOST_SECONDS = 7200
_STACK = "AWS::CloudFormation::Stack"
_CANCELLED = re.compile(r"\bcancell?ed\b", re.IGNORECASE)
# What the text of an error says about what to do.
_ADVICE = (
    (
        r"not authorized|access ?denied|unauthorized",
        "These credentials lack a permission. Ask the owner of the account, or choose a profile with --profile.",
    ),
    (r"already exists", "A resource of this name is in the account already. Delete it, or choose another --stack."),
    (
        r"CodeStorageExceeded|code storage",
        "Lambda's storage is full. Remove old versions: docs/deploy.md, Old versions.",
    ),
    (
        r"limit ?exceeded|quota|maximum number",
        "A quota of the account is reached. Raise it in the Service Quotas console.",
    ),
    (
        r"CodeDeploy|deployment|alarm",
        "The new version failed while it received a part of the calls. The function's log has the cause.",
    ),
)


def last_event(account: Account, stack_id: str) -> str:
    """The ID of a stack's newest event; empty if there is none."""
    events = account.client("cloudformation").describe_stack_events(StackName=stack_id)["StackEvents"]
    return events[0]["EventId"] if events else ""


def follow(account: Account, stack_id: str, after: str, names: set[str], progress: Progress) -> list[Event]:
    """Shows the progress until the stack's change ended, and returns its events, the oldest first.

    `names` are the logical IDs of what is changed. Returns what there is after two hours.
    """
    events: list[Event] = []

    def poll() -> list[Event] | None:
        events[:] = _events_after(account, stack_id, after)
        status = status_of(events, stack_id)
        others = [one for one in events if one["PhysicalResourceId"] != stack_id]
        done = names & {one["LogicalResourceId"] for one in others if one["ResourceStatus"].endswith("_COMPLETE")}
        current = f", {others[-1]['LogicalResourceId']}" if others else ""
        progress(f"{status or 'Waiting'}: {len(done)} of {len(names)} resources{current} …")
        return events if status and not status.endswith("_IN_PROGRESS") else None

    polling.poll_until(poll, MOST_SECONDS)
    return events


def _events_after(account: Account, stack_id: str, after: str) -> list[Event]:
    found: list[Event] = []
    pages = account.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack_id)
    for page in pages:
        for event in page["StackEvents"]:
            if event["EventId"] == after:
                return found[::-1]
            found.append(event)
    return found[::-1]


def status_of(events: list[Event], stack_id: str) -> str:
    """The stack's status after these events."""
    own = [one["ResourceStatus"] for one in events if one["PhysicalResourceId"] == stack_id]
    return own[-1] if own else ""


def first_error(account: Account, events: list[Event]) -> str:
    """The first error and what to do about it. That of a nested stack is in the events of that stack."""
    for one in events:
        reason = one.get("ResourceStatusReason", "")
        if not one["ResourceStatus"].endswith("_FAILED") or _CANCELLED.search(reason):
            continue
        nested = one.get("PhysicalResourceId", "")
        if one["ResourceType"] == _STACK and nested != one["StackId"] and nested:
            return first_error(account, _events_after(account, nested, "")) or _error(one, reason)
        return _error(one, reason)
    return ""


def _error(event: Event, reason: str) -> str:
    advice = next((text for pattern, text in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), "")
    name = f"{event['LogicalResourceId']} ({event['ResourceType']})"
    return f"The first error is that of {name}: {reason.strip().rstrip('.')}. {advice}".rstrip()
