"""Runs ministack with the gaps closed that keep Lumendrop from running on it. Uses nothing of this project.

Each patch names the version it was checked against, what that does, and what AWS does. docs/emulators.md has a list.
"""

from __future__ import annotations

import contextvars
import functools
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import yaml
from ministack import app
from ministack.core import iam_evaluator
from ministack.services import eventbridge, s3, stepfunctions
from ministack.services.cloudformation import engine, provisioners

Handler = Callable[..., Any]


def replace(original: Any, name: str, value: Any) -> None:
    """Replace a function in every module of ministack that has imported it."""
    for module in [one for key, one in sys.modules.items() if key.startswith("ministack")]:
        if getattr(module, name, None) is original:
            setattr(module, name, value)


# CloudFormation.


def compute_texts_in_conditions() -> None:
    # ministack 1.5.33: compares Fn::Split and Fn::Join as they are. AWS: computes them first.
    evaluate = engine._evaluate_conditions

    def evaluate_computed(template: dict[str, Any], params: dict[str, Any]) -> Any:
        return evaluate({**template, "Conditions": _computed(template.get("Conditions", {}), params)}, params)

    replace(evaluate, "_evaluate_conditions", evaluate_computed)


def _computed(part: Any, params: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_computed(one, params) for one in part]
    if not isinstance(part, dict):
        return part
    match {name: _computed(one, params) for name, one in part.items()}:
        case {"Ref": str(name)} if name in params:
            return params[name]["Value"]
        case {"Fn::Join": [separator, list(parts)]}:
            return separator.join(map(str, parts))
        case {"Fn::Split": [separator, str(text)]}:
            return text.split(separator)
        case {"Fn::Select": [index, list(values)]}:
            return values[int(index)]
        case computed:
            return computed


def create_what_has_no_effect_here() -> None:
    # ministack 1.5.33: refuses a stack with these types. AWS: creates them. Saved queries are for people, and a
    # deployment group shifts traffic slowly: an update without it shifts at once.
    for kind in ("AWS::Logs::QueryDefinition", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
        provisioners._RESOURCE_HANDLERS[kind] = {
            "create": lambda logical_id, _, stack_name: (f"{stack_name}-{logical_id}", {}),
            "delete": lambda *_: None,
        }


def refer_to_secrets_by_arn() -> None:
    # ministack 1.5.33: Ref of a secret is its name. AWS: its ARN.
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create: Handler = handlers["create"]

    def create_with_arn(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        _, attributes = create(logical_id, props, stack_name)
        return attributes["Arn"], attributes

    handlers["create"] = create_with_arn


def create_alarms_on_expressions() -> None:
    # ministack 1.5.33: refuses an alarm on metric math. AWS: creates it. Here it watches the first of its metrics.
    record = provisioners._cw_metric_alarm_record

    def record_simplified(name: str, props: dict[str, Any]) -> Any:
        if metrics := props.get("Metrics"):
            first = next(one["MetricStat"] for one in metrics if "MetricStat" in one)
            watched = {**first["Metric"], "Period": first["Period"], "Statistic": "Sum"}
            props = {key: value for key, value in props.items() if key != "Metrics"} | watched
        return record(name, props)

    replace(record, "_cw_metric_alarm_record", record_simplified)


def read_numbers_of_event_sources() -> None:
    # ministack 1.5.33: keeps the text of a Number parameter as MaximumConcurrency. AWS: reads it as a number.
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create: Handler = handlers["create"]

    def create_with_number(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        if scaling := props.get("ScalingConfig"):
            limit = int(scaling["MaximumConcurrency"])
            props = {**props, "ScalingConfig": {"MaximumConcurrency": limit}}
        return create(logical_id, props, stack_name)

    handlers["create"] = create_with_number


def read_definitions_in_yaml() -> None:
    # ministack 1.5.33: reads the definition of a state machine as JSON. AWS: a file in S3 can be YAML too.
    read: Handler = provisioners._sfn_definition

    def read_both(props: dict[str, Any]) -> str:
        definition = read(props)
        return definition if definition.lstrip().startswith("{") else json.dumps(yaml.safe_load(definition))

    replace(read, "_sfn_definition", read_both)


def keep_attributes_in_nested_stacks() -> None:
    # ministack 1.5.33: forgets the attributes of a nested stack's unchanged resources in an update. AWS: keeps them.
    provision, update = provisioners._provision_resource, provisioners._update_resource
    known: dict[tuple[str, str], dict[str, Any]] = {}

    def provision_and_keep(kind: str, logical_id: str, props: dict[str, Any], stack: str, *more: Any) -> Any:
        physical_id, attributes = provision(kind, logical_id, props, stack, *more)
        known[stack, physical_id] = attributes
        return physical_id, attributes

    def update_with_known(kind: str, physical_id: str, old: Any, new: Any, stack: str, *more: Any) -> Any:
        updated_id, attributes = update(kind, physical_id, old, new, stack, *more)
        known[stack, updated_id] = attributes or known.get((stack, physical_id), {})
        return updated_id, known[stack, updated_id]

    replace(provision, "_provision_resource", provision_and_keep)
    replace(update, "_update_resource", update_with_known)


# Events.


def name_the_version_in_events() -> None:
    # ministack 1.5.33: EventBridge's events of S3 have no version-id. AWS: they have it in a versioned bucket.
    version = contextvars.ContextVar[str | None]("version", default=None)
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event

    def fire_with_version(*arguments: Any, **named: Any) -> None:
        token = version.set(named.get("version_id"))
        try:
            fire(*arguments, **named)
        finally:
            version.reset(token)

    def dispatch_with_version(event: dict[str, Any], *arguments: Any) -> Any:
        if event.get("Source") == "aws.s3" and version.get():
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version.get()
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, *arguments)

    replace(fire, "_fire_s3_event", fire_with_version)
    replace(dispatch, "_dispatch_event", dispatch_with_version)


def name_the_execution_in_events() -> None:
    # ministack 1.5.33: an event of a workflow has the Resources of its entry. AWS: Step Functions adds the ARNs of the
    # execution and of the state machine.
    executions = contextvars.ContextVar[dict[str, Any]]("execution")
    execute = stepfunctions._execute_task
    kind = "arn:aws:states:::events:putEvents"
    put: Handler = stepfunctions._SERVICE_DISPATCH[kind]

    def execute_known(state: Any, state_input: Any, execution: dict[str, Any], ctx: Any) -> Any:
        executions.set(execution)
        return execute(state, state_input, execution, ctx)

    def put_with_resources(resource: str, request: dict[str, Any]) -> Any:
        own = [executions.get()["executionArn"], executions.get()["stateMachineArn"]]
        entries = [{**one, "Resources": [*one.get("Resources", []), *own]} for one in request["Entries"]]
        return put(resource, {**request, "Entries": entries})

    replace(execute, "_execute_task", execute_known)
    stepfunctions._SERVICE_DISPATCH[kind] = put_with_resources


# Step Functions.


def compute_the_output_of_succeed() -> None:
    # ministack 1.5.33: Succeed returns its input. AWS: in JSONata, it returns its Output.
    apply = stepfunctions._apply_output_path

    def apply_output(state: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state["Type"] == "Succeed" and stepfunctions._state_query_language(state, ctx) == "JSONata":
            return stepfunctions._apply_jsonata_output(state, data, ctx, default=data)
        return apply(state, data, ctx)

    replace(apply, "_apply_output_path", apply_output)


def send_batches_of_messages() -> None:
    # ministack 1.5.33: names the entries of SendMessageBatch in a way that its own SQS does not read. AWS: sends them.
    # The JSON protocol needs no names.
    stepfunctions._AWS_SDK_SERVICE_MAP["sqs"] = {"protocol": "json", "target_prefix": "AmazonSQS"}


def run_distributed_maps() -> None:
    # ministack 1.5.33: a Distributed Map evaluates no JSONata, makes no batches, and assigns nothing. AWS: does all of
    # it. Here, the reader's items run as those of an inline Map.
    run, read = stepfunctions._run_map_items, stepfunctions._read_map_items

    def run_map(state: dict[str, Any], state_input: Any, execution: Any, ctx: Any) -> Any:
        if "ItemReader" not in state:
            return run(state, state_input, execution, ctx)
        arguments = stepfunctions._apply_jsonata_template(state["ItemReader"]["Arguments"], state_input, ctx)
        items = read({**state["ItemReader"], "Arguments": arguments}, state_input, ctx)
        size = state["ItemBatcher"]["MaxItemsPerBatch"]
        batches = [{"Items": items[start : start + size]} for start in range(0, len(items), size)]
        processor = {**state["ItemProcessor"], "ProcessorConfig": {"Mode": "INLINE"}}
        return run({**state, "Items": batches, "ItemProcessor": processor}, state_input, execution, ctx)

    replace(run, "_run_map_items", run_map)


# Security.


def answer_as_over_tls() -> None:
    # ministack 1.5.33: aws:SecureTransport is false over http. AWS: every client of this project uses https.
    pin = iam_evaluator.pin_request_origin
    replace(pin, "pin_request_origin", lambda source_ip, _: pin(source_ip, True))


def match_line_breaks() -> None:
    # ministack 1.5.33: * in a policy's Resource matches no line break, which keys can have. AWS: it matches everything.
    translate = iam_evaluator._fnmatch_compile

    @functools.cache
    def translate_all(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        translated = translate(pattern, ignore_case)
        return re.compile(translated.pattern, translated.flags | re.DOTALL)

    replace(translate, "_fnmatch_compile", translate_all)


PATCHES = (
    compute_texts_in_conditions,
    create_what_has_no_effect_here,
    refer_to_secrets_by_arn,
    create_alarms_on_expressions,
    read_numbers_of_event_sources,
    read_definitions_in_yaml,
    keep_attributes_in_nested_stacks,
    name_the_version_in_events,
    name_the_execution_in_events,
    compute_the_output_of_succeed,
    send_batches_of_messages,
    run_distributed_maps,
    answer_as_over_tls,
    match_line_breaks,
)


if __name__ == "__main__":
    for patch in PATCHES:
        patch()
    app.main()
