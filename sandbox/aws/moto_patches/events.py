"""EventBridge: the events of AWS services, and rules with targets of every kind that the sandbox supports."""

import copy
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from moto.events.models import Rule, events_backends
from moto.events.utils import EventMessageType

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of this service."""
    _check_queue_policies(replace, context.may)
    _reach_every_target(replace, context)


def put_service_event(account: str, region: str, *, source: str, kind: str, resource: str, detail: Any) -> None:
    """Put an AWS service's event on the default event bus; `kind` is its detail-type."""
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": datetime.now(UTC).timestamp(),
        "region": region,
        "resources": [resource],
        "detail": detail,
    }
    for rule in list(events_backends[account][region].event_buses["default"].rules.values()):
        if rule.state == "ENABLED":
            rule.send_to_targets(cast(EventMessageType, dict(event)), transform_input=False)


def _check_queue_policies(replace: Replace, may: Callable[..., bool]) -> None:
    # moto 5.2.5: EventBridge sends to any queue. AWS: needs the queue's policy, and drops the event without it.
    send = Rule._send_to_sqs_queue

    def send_if_allowed(self: Any, queue: str, event: dict[str, Any], group: str | None = None) -> None:
        arn = f"arn:aws:sqs:{self.region_name}:{self.account_id}:{queue}"
        if may("events.amazonaws.com", "sqs:SendMessage", arn, **{"aws:sourcearn": self.arn}):
            send(self, queue, event, group)

    replace(Rule, "_send_to_sqs_queue", send_if_allowed)


def _reach_every_target(replace: Replace, context: Context) -> None:
    # moto 5.2.5: has no targets that are state machines or topics; every event matches a rule with a schedule.
    # AWS: starts the state machine with the target's role, publishes to a topic whose policy allows it.
    send = Rule.send_to_targets

    def send_everywhere(self: Any, event: Any, transform_input: bool = True) -> None:
        if self.scheduled_expression and event["detail-type"] != "Scheduled Event":
            return
        patched = [target for target in self.targets if _kind(target) in _SENDERS]
        others = copy.copy(self)
        others.targets = [target for target in self.targets if target not in patched]
        send(others, event, transform_input)
        if self.event_pattern.matches_event(event):
            for target in patched:
                _SENDERS[_kind(target)](context, self, target, _as_json(event))

    replace(Rule, "send_to_targets", send_everywhere)


def _kind(target: dict[str, Any]) -> str:
    return str(target["Arn"]).split(":")[2]


def _as_json(event: dict[str, Any]) -> str:
    sent = {name: value for name, value in event.items() if name != "ingestion-time"}
    return json.dumps(sent | {"time": f"{datetime.fromtimestamp(float(event['time']), UTC):%Y-%m-%dT%H:%M:%SZ}"})


def _start_execution(context: Context, _: Any, target: dict[str, Any], event: str) -> None:
    client = context.service_client("stepfunctions", target["RoleArn"])
    client.start_execution(stateMachineArn=target["Arn"], input=event)


def _publish(context: Context, rule: Any, target: dict[str, Any], event: str) -> None:
    if context.may("events.amazonaws.com", "sns:Publish", target["Arn"], **{"aws:sourcearn": rule.arn}):
        context.service_client("sns", "").publish(TopicArn=target["Arn"], Message=event)


_SENDERS = {"states": _start_execution, "sns": _publish}
