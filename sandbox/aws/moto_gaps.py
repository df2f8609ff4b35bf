"""What moto does differently from AWS and the sandbox needs right: one function a gap, undone when the cloud closes."""

# ruff: noqa: SLF001  # bridging moto means reaching into it

import contextlib
import copy
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import count
from threading import Lock, local
from types import SimpleNamespace
from typing import Any, cast

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils
from moto.awslambda.models import EventSourceMapping, LambdaFunction
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.models import Stack, cloudformation_backends
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.dynamodb import models as tables
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.events.models import Rule, events_backends
from moto.events.utils import EventMessageType
from moto.iam.access_control import PermissionResult
from moto.logs.models import LogGroup
from moto.s3 import notifications
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from moto.sqs.models import Queue, SQSBackend
from moto.sqs.responses import SQSResponse
from moto.stepfunctions.parser import models as state_machines
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJSONata
from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as intrinsic
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_aws_sdk
from moto.stepfunctions.parser.asl.eval import states, variable_store
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.jsonata import jsonata
from moto.stepfunctions.parser.asl.jsonata.jsonata import IllegalJSONataVariableReference, JSONataException
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
from moto.stepfunctions.parser.asl.utils import encoding
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
from moto.stepfunctions.parser.utils import TMP_THREADS

from sandbox.aws import moto_maps
from sandbox.aws.resources import create_stack, current
from sandbox.aws.template import load

# What AWS writes as "reason" of an Object Created event, by moto's name of the notification.
_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
}


@contextlib.contextmanager
def bridged(
    invoke: Callable[..., bytes],
    service_client: Callable[[str, str], Any],
    may: Callable[..., bool],
    account: str,
    region: str,
) -> Iterator[None]:
    """Bridge every gap for as long as the context lasts.

    `invoke` takes a function's name, body and headers and gives the answer of Lambda's Invoke; `service_client`
    makes the client that a state machine with the given role talks to a service with; `may` tells whether a
    service may do something, given its name, the action, the resource and the condition keys.
    """
    with contextlib.ExitStack() as stack:
        replace = replacer(stack)
        _compare_parameters_as_text(replace)
        _leave_no_value_out_of_lists(replace)
        _leave_out_what_no_condition_made(replace)
        _nest_stacks(replace)
        _execute_state_machines(replace)
        _parse_definitions_once(replace)
        _evaluate_jsonata(replace)
        _name_errors_as_aws_does(replace)
        _write_times_as_aws_does(replace)
        _call_services_as_the_role(replace, service_client)
        _publish_ended_executions(replace, account, region)
        _publish_s3_events(replace, account)
        _leave_bucket_policies_to_the_sandbox(replace)
        _name_log_groups_as_aws_does(replace)
        _ask_queues_before_sending(replace, may)
        _reach_every_target(replace, service_client, may)
        _serialise_queues(replace)
        _send_without_counting(replace)
        _disable_once_nothing_is_received(replace)
        _move_messages(replace)
        _tell_of_event_bridge(replace)
        _keep_tables_whole(replace)
        _write_transactions_once(replace)
        _serialise_starts(replace)
        _invoke_functions(replace, invoke)
        moto_maps.bridge(replace, may)
        yield


Replace = Callable[[Any, str, Any], None]


def replacer(stack: contextlib.ExitStack) -> Replace:
    """Sets attributes until the stack is closed."""

    def replace(holder: Any, name: str, value: Any) -> None:
        if hasattr(holder, name):
            stack.callback(setattr, holder, name, getattr(holder, name))
        else:
            stack.callback(delattr, holder, name)
        setattr(holder, name, value)

    return replace


def _compare_parameters_as_text(replace: Replace) -> None:
    # To CloudFormation every parameter is text in a condition; moto holds the number 0 against the text "0".
    parse = parsing.parse_condition

    def parse_as_text(condition: Any, resources: Any, conditions: Any) -> bool:
        if isinstance(condition, dict) and "Fn::Equals" in condition:
            one, other = (str(parsing.clean_json(side, resources)) for side in condition["Fn::Equals"])
            return one == other
        return parse(condition, resources, conditions)

    replace(parsing, "parse_condition", parse_as_text)


def _leave_out_what_no_condition_made(replace: Replace) -> None:
    # Moto lists a resource whose condition is false as one without a name.
    made = property(lambda self: [one for one in self.resource_map.values() if one])
    replace(Stack, "stack_resources", made)


def _nest_stacks(replace: Replace) -> None:
    # Moto reads a nested template from S3 only, names the stack where AWS gives its ARN, and knows no
    # Fn::GetAtt of its outputs.
    replace(Stack, "create_from_cloudformation_json", staticmethod(_create_nested_stack))
    replace(Stack, "physical_resource_id", property(lambda self: self.stack_id))
    replace(Stack, "get_cfn_attribute", _nested_output)
    replace(Stack, "parent_id", None)
    replace(Stack, "root_id", property(_root_of_nested))
    clean = parsing.clean_json

    def clean_whole_attribute(part: Any, resources: Any) -> Any:
        # Fn::Sub splits ${Nested.Outputs.Name} at every dot.
        if isinstance(part, dict) and len(part.get("Fn::GetAtt", ())) > 2:
            name, *attribute = part["Fn::GetAtt"]
            return clean({"Fn::GetAtt": [name, ".".join(attribute)]}, resources)
        return clean(part, resources)

    replace(parsing, "clean_json", clean_whole_attribute)


def _create_nested_stack(name: str, resource: dict[str, Any], account: str, region: str, **parent: Any) -> Stack:
    properties, directory = resource["Properties"], current().template.directory
    values = {
        key: ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in properties.get("Parameters", {}).items()
    }
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    stack: Any = create_stack(load(directory / properties["TemplateURL"], values, region), name, account, region, tags)
    stack.parent_id = parent["StackId"]
    return cast(Stack, stack)


def _root_of_nested(stack: Any) -> str | None:
    if stack.parent_id is None:
        return None
    outer = cloudformation_backends[stack.account_id][stack.region_name].get_stack(stack.parent_id)
    return _root_of_nested(outer) or outer.stack_id


def _nested_output(self: Stack, attribute: str) -> str:
    section, _, name = attribute.partition(".")
    output = self.output_map[name] if section == "Outputs" and name in self.output_map.outputs else None
    if output is None:
        raise UnformattedGetAttTemplateException
    return output.value


def _leave_no_value_out_of_lists(replace: Replace) -> None:
    # AWS::NoValue takes an item away; moto leaves None in its place.
    clean = parsing.clean_json

    def clean_lists(part: Any, resources: Any) -> Any:
        cleaned = clean(part, resources)
        return [one for one in cleaned if one is not None] if isinstance(cleaned, list) else cleaned

    replace(parsing, "clean_json", clean_lists)


def _execute_state_machines(replace: Replace) -> None:
    # Moto answers executions with canned data unless told to execute them.
    replace(_Items(cast(dict[str, Any], default_user_config["stepfunctions"])), "execute_state_machine", True)


def _parse_definitions_once(replace: Replace) -> None:
    # Moto parses the whole definition anew for every execution, which took longer than the execution itself.
    parse = AmazonStateLanguageParser.parse

    @lru_cache(maxsize=16)
    def tree(definition: str) -> Any:
        return parse(definition)[1]

    def parse_once(definition: str) -> tuple[Any, Any]:
        return Preprocessor().visit(tree(definition)), tree(definition)

    replace(AmazonStateLanguageParser, "parse", staticmethod(parse_once))


class _Items:
    """A dictionary's items as attributes, so that `replace` serves them too."""

    def __init__(self, items: dict[str, Any]) -> None:
        object.__setattr__(self, "_items", items)

    def __getattr__(self, name: str) -> Any:
        return self._items[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._items[name] = value


def _evaluate_jsonata(replace: Replace) -> None:
    # Moto has no evaluator of its own.
    replace(jsonata, "_eval_jsonata", _evaluated)

    # Moto writes the variables into the expression, where a quote in a string broke it, and where they are parsed anew
    # each time. Here they are told apart from it again.
    def declare(bindings: dict[str, Any]) -> str:
        encoder = encoding._DateTimeEncoder()
        return "".join(f"{_MARK}{name}={encoder.encode(value)}{_MARK}" for name, value in bindings.items())

    for module in (jsonata, states, variable_store):
        replace(module, "encode_jsonata_variable_declarations", declare)

    # An expression that can't be evaluated is a States.QueryEvaluationError, which may be caught; moto makes it a
    # States.Runtime, which may not.
    evaluate = StringJSONata._eval_body

    def evaluate_or_fail(self: StringJSONata, env: Any) -> None:
        try:
            evaluate(self, env)
        except (JSONataException, IllegalJSONataVariableReference) as error:
            cause = f"The JSONata expression '{self.expression}' threw an error during evaluation. {error}"
            raise FailureEventException(_evaluation_failed(env, cause)) from error

    replace(StringJSONata, "_eval_body", evaluate_or_fail)

    # Moto lets these two answer that they are not supported, as if that were their result.
    supported = {
        name: function
        for name, function in intrinsic._DECLARATION_BY_VARIABLE_REFERENCE.items()
        if name not in ("$uuid", "$hash")
    }
    replace(intrinsic, "_DECLARATION_BY_VARIABLE_REFERENCE", supported)


# No JSON text has this in it.
_MARK = "\x1f"
_DECLARED = re.compile(rf"{_MARK}\$(\w+)=(.*?){_MARK}")
_one_evaluation_at_a_time = Lock()


@lru_cache(maxsize=1000)
def _parsed(expression: str) -> Jsonata:
    return Jsonata(expression)


def _evaluated(expression: str) -> Any:
    values = {name: json.loads(value) for name, value in _DECLARED.findall(expression)}
    bindings = {name: Utils.NULL_VALUE if value is None else value for name, value in values.items()}
    try:
        with _one_evaluation_at_a_time:
            parsed = _parsed(_DECLARED.sub("", expression))
            # Its functions ask for the evaluator of their thread.
            Jsonata.CURRENT.jsonata = parsed
            return parsed.evaluate(None, bindings)
    except Exception as error:
        # The evaluator lets through whatever Python raises on a wrong type or value.
        raise JSONataException(type(error).__name__, str(error)) from error


def _evaluation_failed(env: Any, cause: str) -> FailureEvent:
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    return FailureEvent(
        env=env,
        error_name=name,
        event_type=HistoryEventType.EvaluationFailed,
        event_details=cast(
            EventDetails,
            {"evaluationFailedEventDetails": EvaluationFailedEventDetails(cause=cause, error=name.error_name)},
        ),
    )


def _name_errors_as_aws_does(replace: Replace) -> None:
    # AWS capitalises the service in the errors of SDK integrations (S3.NoSuchBucketException); moto knows two.
    names = state_task_service_aws_sdk._SERVICE_ERROR_NAMES
    known = {**names, "s3": "S3", "sqs": "Sqs", "eventbridge": "EventBridge", "secretsmanager": "SecretsManager"}
    replace(state_task_service_aws_sdk, "_SERVICE_ERROR_NAMES", known)


def _call_services_as_the_role(replace: Replace, service_client: Callable[[str, str], Any]) -> None:
    # Moto makes a new client, for a fixed port and without the role, for each call; and the modules of the
    # integrations have all taken that function by name.
    def client(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001  # moto's
        made = service_client(service, state_credentials.role_arn)
        if service == "s3":
            made.meta.events.register("provide-client-params.s3.PutObject", _write_json, unique_id="json-body")
        return made

    for module in [m for name, m in sys.modules.items() if name.startswith("moto.stepfunctions.")]:
        if hasattr(module, "boto_client_for"):
            replace(module, "boto_client_for", client)


def _write_json(params: dict[str, Any], **_: object) -> None:
    # AWS writes a Body that is no text as JSON; moto hands it on as it is.
    if "Body" in params and not isinstance(params["Body"], str | bytes):
        params["Body"] = to_json_str(params["Body"], (",", ":")).encode()


def _write_times_as_aws_does(replace: Replace) -> None:
    # AWS writes 2026-01-31T12:00:00.123Z wherever a workflow sees a time; moto microseconds and +00:00.
    def default(_: Any, value: Any) -> str:
        return _timestamp(value) if isinstance(value, datetime) else str(value)

    replace(encoding._DateTimeEncoder, "default", default)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _publish_ended_executions(replace: Replace, account: str, region: str) -> None:
    # AWS tells EventBridge about every change of an execution's status; moto doesn't.
    terminated = BaseExecutionWorkerCommunication.terminated

    def publish(self: Any) -> None:
        terminated(self)
        detail = json.loads(to_json_str(self.execution.to_describe_output()))
        # DescribeExecution gives the output as JSON, of a string too; moto gives the string itself.
        if isinstance(self.execution.output, str):
            self.execution.output = to_json_str(self.execution.output)
        milliseconds = {
            name: int(datetime.fromisoformat(detail[name]).timestamp() * 1000) for name in ("startDate", "stopDate")
        }
        _publish(
            account,
            region,
            source="aws.states",
            kind="Step Functions Execution Status Change",
            resource=detail["executionArn"],
            detail={"error": None, "cause": None, "output": None, **detail, **milliseconds},
        )

    replace(BaseExecutionWorkerCommunication, "terminated", publish)


def _publish_s3_events(replace: Replace, account: str) -> None:
    # Moto sends a constant sequencer, constant ids, eTag for etag, and the notification's name as reason.
    # Shape: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    sequence = count(int(datetime.now(UTC).timestamp() * 1000) << 20)

    def send(account_id: str, bucket: Any, event_name: str, key: Any) -> None:
        name = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
        entry: dict[str, Any] = {"key": key.name, "size": key.size, "etag": key.etag.strip('"')}
        if key.version_id and key.version_id != "null":
            entry["version-id"] = key.version_id
        entry["sequencer"] = f"{next(sequence):018X}"
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": entry,
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": account_id,
            "source-ip-address": "127.0.0.1",
            "reason": _REASONS.get(name, name),
        }
        kind = notifications._detail_type(event_name)
        event = partial(
            _publish, account, bucket.region_name, source="aws.s3", kind=kind, resource=bucket.arn, detail=detail
        )
        _of_this_request.events[bucket.name, key.name, key.version_id, kind] = event

    replace(notifications, "_send_event_bridge_message", send)


class _Events(local):
    """What the request that a thread handles has to tell EventBridge; the last of a kind about an object counts."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, str | None, str], Callable[[], None]] = {}


_of_this_request = _Events()


def publishing_afterwards(
    app: Callable[..., Iterable[bytes]], carry: Callable[[Callable[[], None]], None]
) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that hands its S3 events to `carry`, to be published, once the request is done with.

    Moto sends them in the middle: before an object has its metadata, and for a multipart upload twice.
    """

    def run(environ: Any, start_response: Any) -> Iterable[bytes]:
        _of_this_request.events = {}
        content = app(environ, start_response)
        for publish in _of_this_request.events.values():
            carry(publish)
        return content

    return run


def _leave_bucket_policies_to_the_sandbox(replace: Replace) -> None:
    # Moto takes a statement that denies plain HTTP for one that denies everything: it looks at no conditions.
    replace(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)


def _name_log_groups_as_aws_does(replace: Replace) -> None:
    # CloudFormation's Arn of a log group ends in :*, and so covers its streams.
    attribute = LogGroup.get_cfn_attribute

    def get(self: LogGroup, name: str) -> str:
        return f"{attribute(self, name)}:*" if name == "Arn" else attribute(self, name)

    replace(LogGroup, "get_cfn_attribute", get)


def _ask_queues_before_sending(replace: Replace, may: Callable[..., bool]) -> None:
    # Moto lets EventBridge send to any queue. AWS asks the queue's policy, and drops the event if it says no.
    send = Rule._send_to_sqs_queue

    def send_if_allowed(self: Any, queue: str, event: dict[str, Any], group: str | None = None) -> None:
        arn = f"arn:aws:sqs:{self.region_name}:{self.account_id}:{queue}"
        if may("events.amazonaws.com", "sqs:SendMessage", arn, **{"aws:sourcearn": self.arn}):
            send(self, queue, event, group)

    replace(Rule, "_send_to_sqs_queue", send_if_allowed)


def _reach_every_target(replace: Replace, service_client: Callable[[str, str], Any], may: Callable[..., bool]) -> None:
    # Moto knows no rule whose target is a state machine or a topic, and lets every event fit a rule with a schedule.
    send = Rule.send_to_targets

    def start(target: Any, event: str) -> None:
        client = service_client("stepfunctions", target["RoleArn"])
        client.start_execution(stateMachineArn=target["Arn"], input=event)

    def publish(target: Any, event: str, rule: str) -> None:
        if may("events.amazonaws.com", "sns:Publish", target["Arn"], **{"aws:sourcearn": rule}):
            service_client("sns", "").publish(TopicArn=target["Arn"], Message=event)

    def send_everywhere(self: Any, event: Any, transform_input: bool = True) -> None:
        if self.scheduled_expression and event["detail-type"] != "Scheduled Event":
            return
        machines = [target for target in self.targets if ":stateMachine:" in target["Arn"]]
        topics = [target for target in self.targets if ":sns:" in target["Arn"]]
        others = copy.copy(self)
        others.targets = [target for target in self.targets if target not in machines + topics]
        send(others, event, transform_input)
        if not self.event_pattern.matches_event(event):
            return
        told = {name: value for name, value in event.items() if name != "ingestion-time"}
        text = json.dumps(told | {"time": f"{datetime.fromtimestamp(float(event['time']), UTC):%Y-%m-%dT%H:%M:%SZ}"})
        for target in machines:
            start(target, text)
        for target in topics:
            publish(target, text, self.arn)

    replace(Rule, "send_to_targets", send_everywhere)


def _serialise_queues(replace: Replace) -> None:
    # Moto's server has many threads, its queues are for one: a message sent while another is deleted got lost,
    # and two receivers got the same one. Waiting for messages gives the lock up.
    receive, delete = SQSBackend.receive_message, Queue.delete_message

    def receive_alone(self: SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        with self.get_queue(queue_name)._messages_lock:
            return receive(self, queue_name, *args, **kwargs)

    def delete_alone(self: Queue, receipt_handle: str) -> None:
        with self._messages_lock:
            delete(self, receipt_handle)

    replace(SQSBackend, "receive_message", receive_alone)
    replace(Queue, "delete_message", delete_alone)


def _move_messages(replace: Replace) -> None:
    # Moto has no message move tasks, by which AWS empties dead-letter queues. Here such a task ends at once.
    tasks: dict[str, dict[str, Any]] = {}

    def start(self: SQSResponse) -> ActionResult:
        source, moved = self._get_param("SourceArn"), 0
        source_name = source.rpartition(":")[2]
        target = self._get_param("DestinationArn")
        if not target:
            target = self.sqs_backend.list_dead_letter_source_queues(source_name)[0].queue_arn
        target_name = target.rpartition(":")[2]
        while messages := self.sqs_backend.receive_message(source_name, 10, 0, 60, ["All"]):
            for message in messages:
                self.sqs_backend.send_message(target_name, message.body, message.message_attributes)
                self.sqs_backend.delete_message(source_name, str(message.receipt_handle))
            moved += len(messages)
        started = time.time_ns() // 1_000_000
        tasks[source] = {
            "SourceArn": source,
            "DestinationArn": target,
            "Status": "COMPLETED",
            "StartedTimestamp": started,
        }
        tasks[source] |= {"ApproximateNumberOfMessagesMoved": moved, "ApproximateNumberOfMessagesToMove": moved}
        return ActionResult({"TaskHandle": str(uuid.uuid4())})

    def listed(self: SQSResponse) -> ActionResult:
        source = self._get_param("SourceArn")
        return ActionResult({"Results": [tasks[source]] if source in tasks else []})

    replace(SQSResponse, "start_message_move_task", start)
    replace(SQSResponse, "list_message_move_tasks", listed)


def _tell_of_event_bridge(replace: Replace) -> None:
    # Moto's GetBucketNotificationConfiguration leaves EventBridge out.
    serialized = S3Response.serialized

    def tell(self: S3Response, answer: ActionResult) -> Any:
        if self.data.get("Action") == "GetBucketNotificationConfiguration" and isinstance(answer.result, dict):
            found = self.backend.get_bucket_notification_configuration(self.bucket_name)
            if found and found.event_bridge is not None:
                answer.result["EventBridgeConfiguration"] = {}
        return serialized(self, answer)

    replace(S3Response, "serialized", tell)


def _send_without_counting(replace: Replace) -> None:
    # Moto counts all that a queue holds, several times, for every message that is sent.
    send, attributes, sending = SQSBackend.send_message, cast(Any, Queue.attributes), local()

    def send_quickly(self: SQSBackend, *args: Any, **kwargs: Any) -> Any:
        sending.now = True
        try:
            return send(self, *args, **kwargs)
        finally:
            sending.now = False

    # What sending asks for is about FIFO queues, and there is none here.
    replace(SQSBackend, "send_message", send_quickly)
    replace(Queue, "attributes", property(lambda self: {} if getattr(sending, "now", False) else attributes.fget(self)))


def _disable_once_nothing_is_received(replace: Replace) -> None:
    # In AWS a mapping that is switched off is Disabling as long as its poller may still receive.
    configuration = EventSourceMapping.get_configuration

    def tell(self: EventSourceMapping) -> dict[str, Any]:
        told = configuration(self)
        return told | {"State": "Disabling"} if told["State"] == "Disabled" and self.receiving else told  # type: ignore[attr-defined]  # set below

    replace(EventSourceMapping, "receiving", False)
    replace(EventSourceMapping, "get_configuration", tell)


def _keep_tables_whole(replace: Replace) -> None:
    # Moto's server has many threads, its tables are for one: a transaction that was refused put back the whole table
    # as it had been before, and what others had written meanwhile was lost.
    call = DynamoHandler.call_action
    one_at_a_time = Lock()

    def call_alone(self: DynamoHandler) -> Any:
        with one_at_a_time:
            return call(self)

    replace(DynamoHandler, "call_action", call_alone)
    # It also copied the whole table for that, with each transaction.
    replace(tables, "copy", SimpleNamespace(deepcopy=lambda one: one if isinstance(one, Table) else copy.deepcopy(one)))
    write = DynamoDBBackend.transact_write_items

    def write_all_or_nothing(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        before = [_item_before(self, operation) for one in transact_items for operation in one.values()]
        try:
            write(self, transact_items)
        except Exception:
            for table, keys, item in before:
                _put_back(table, keys, item)
            raise

    replace(DynamoDBBackend, "transact_write_items", write_all_or_nothing)


def _item_before(backend: DynamoDBBackend, operation: dict[str, Any]) -> tuple[Table, tuple[Any, Any], Item | None]:
    table = backend.get_table(operation["TableName"])
    key = operation.get("Key") or operation["Item"]
    keys = backend.get_keys_value(table, key)
    return table, keys, copy.deepcopy(table.get_item(*keys))


def _put_back(table: Table, keys: tuple[Any, Any], item: Item | None) -> None:
    if item is None:
        table.delete_item(*keys)
    elif table.has_range_key:
        table.items[keys[0]][keys[1]] = item
    else:
        table.items[keys[0]] = item  # type: ignore[assignment]  # moto's own type knows tables with a range key only


def _write_transactions_once(replace: Replace) -> None:
    # The SDK repeats a transaction whose answer got lost, with the same token; AWS then answers as it did before,
    # moto wrote it a second time.
    write = DynamoHandler.transact_write_items
    answers: dict[str, Any] = {}

    def write_once(self: DynamoHandler) -> Any:
        token = self.body["ClientRequestToken"]
        if token not in answers:
            answers[token] = write(self)
        return answers[token]

    replace(DynamoHandler, "transact_write_items", write_once)


def _serialise_starts(replace: Replace) -> None:
    # Two StartExecutions of one name at the same time both found the name free; and without a name, AWS makes one.
    start = state_machines.StepFunctionsParserBackend.start_execution
    one_at_a_time = Lock()

    def start_alone(self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        with one_at_a_time:
            # Moto keeps every thread that it ever started.
            TMP_THREADS.clear()
            return start(self, state_machine_arn, name or str(uuid.uuid4()), *args, **kwargs)

    replace(state_machines.StepFunctionsParserBackend, "start_execution", start_alone)


def _publish(account: str, region: str, *, source: str, kind: str, resource: str, detail: dict[str, Any]) -> None:
    """Put an AWS service's event on the default bus."""
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


def _invoke_functions(replace: Replace, invoke: Callable[..., bytes]) -> None:
    # Moto runs functions in Docker, once each, and calls every failure "Handled".
    def run(self: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        return invoke(self.function_name, body, request_headers, response_headers)

    replace(LambdaFunction, "invoke", run)


def stop_executions(account: str, region: str) -> None:
    """Stop every execution that still runs, as StopExecution would."""
    for machine in state_machines.stepfunctions_parser_backends[account][region].state_machines:
        for execution in cast(list[Any], machine.executions):
            if execution.status == "RUNNING" and execution.exec_worker.env is not None:
                execution.stop(stop_date=datetime.now(UTC), error=None, cause="The sandbox was closed.")
