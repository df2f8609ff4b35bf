"""Finds problems of a state machine in JSONata that AWS, cfn-lint, or moto accept or find only at run time.

Rules: https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html and its sections on each state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator
from jsonata.jsonata import Jsonata
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

State = dict[str, Any]

_ANY = {"Type", "Comment", "QueryLanguage", "Output", "Assign"}
_FIELDS = {
    "Pass": _ANY | {"Next", "End"},
    "Task": _ANY
    | {"Next", "End", "Resource", "Arguments", "TimeoutSeconds", "HeartbeatSeconds", "Retry", "Catch", "Credentials"},
    "Wait": _ANY | {"Next", "End", "Seconds", "Timestamp"},
    "Choice": _ANY | {"Choices", "Default"},
    "Succeed": _ANY - {"Assign"},
    "Fail": {"Type", "Comment", "QueryLanguage", "Error", "Cause"},
    "Map": _ANY
    | {"Next", "End", "Items", "ItemSelector", "ItemProcessor", "MaxConcurrency", "Retry", "Catch"}
    | {"ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailurePercentage", "ToleratedFailureCount"},
}
_DISTRIBUTED_ONLY = {
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "Label",
    "ToleratedFailurePercentage",
    "ToleratedFailureCount",
}
_READERS = {"arn:aws:states:::s3:listObjectsV2": {"Bucket"}, "arn:aws:states:::s3:getObject": {"Bucket", "Key"}}
_NUMBERS = {"TimeoutSeconds", "HeartbeatSeconds", "Seconds", "DelaySeconds", "MaxItemsPerBatch"}
_RULE = {"Condition", "Next", "Assign", "Output", "Comment"}
_CATCHER = {"ErrorEquals", "Next", "Assign", "Output", "Comment"}
_RETRIER = {
    "ErrorEquals",
    "IntervalSeconds",
    "BackoffRate",
    "MaxAttempts",
    "MaxDelaySeconds",
    "JitterStrategy",
    "Comment",
}
_STATES_ERRORS = {
    "States.ALL",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.ItemReaderFailed",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
}
# How the errors of an integration begin, and the service whose errors they are.
_SERVICES = {"Lambda": "lambda", "DynamoDB": "dynamodb", "S3": "s3", "Sqs": "sqs", "EventBridge": "events"}
# Errors that Step Functions defines in addition to those of the services' models.
_OWN_ERRORS = {"Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.Unknown", "EventBridge.FailedEntry"}
_AWS_FUNCTIONS = {"partition", "range", "hash", "random", "uuid", "parse"}
_NOT_IN_AWS = {"eval"}
_CONTEXT = {"Execution", "State", "StateMachine", "Task", "Map"}


def problems(definition: dict[str, Any], substitutions: set[str]) -> list[str]:
    """A sentence for each problem; none if there is none."""
    return [
        *_whole(definition),
        *(f"{name}: {what}" for name, state in all_states(definition) for what in _state(name, state)),
        *_variables(definition, set()),
        *_substitutions(definition, substitutions),
        *_numbers(definition),
    ]


def all_states(definition: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Each state with its name, those inside a Map included."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from all_states(state["ItemProcessor"])


def _whole(definition: dict[str, Any]) -> Iterator[str]:
    if definition.get("QueryLanguage") != "JSONata":
        yield "the query language is not JSONata"
    if not isinstance(definition.get("TimeoutSeconds"), int):
        yield "there is no time-out"
    if not definition.get("Comment"):
        yield "there is no Comment"
    names = [name for name, _ in all_states(definition)]
    yield from (f"there are two states {name}" for name in set(names) if names.count(name) > 1)
    yield from _graph(definition)


def _graph(definition: dict[str, Any]) -> Iterator[str]:
    states = definition["States"]
    targets = {target for state in states.values() for target in successors(state)} | {definition["StartAt"]}
    yield from (f"{target} does not exist" for target in targets - set(states))
    reached = _closure({definition["StartAt"]} & set(states), lambda name: successors(states[name]) & set(states))
    yield from (f"{name} is never reached" for name in set(states) - reached)
    ends = {name for name, state in states.items() if state.get("Type") in ("Succeed", "Fail") or state.get("End")}
    before = _closure(ends, lambda name: {other for other, state in states.items() if name in successors(state)})
    yield from (f"{name} leads to no end" for name in set(states) - before)
    for state in states.values():
        if "ItemProcessor" in state:
            yield from _graph(state["ItemProcessor"])


def successors(state: State) -> set[str]:
    rules = [*state.get("Choices", []), *state.get("Catch", []), state]
    return {rule[field] for rule in rules for field in ("Next", "Default") if field in rule}


def _closure(found: set[str], more: Any) -> set[str]:
    while new := {one for name in found for one in more(name)} - found:
        found = found | new
    return found


def _state(name: str, state: State) -> Iterator[str]:
    kind = state.get("Type")
    if kind not in _FIELDS:
        yield f"unknown type {kind}"
        return
    if not re.fullmatch(r".{1,80}", name):
        yield "the name is too long"
    if not state.get("Comment"):
        yield "there is no Comment"
    yield from (f"{field} is no field of a {kind} in JSONata" for field in set(state) - _FIELDS[kind])
    if kind in ("Pass", "Task", "Wait", "Map") and ("Next" in state) == (state.get("End") is True):
        yield "there must be either Next or End"
    if kind == "Wait" and len({"Seconds", "Timestamp"} & set(state)) != 1:
        yield "there must be either Seconds or Timestamp"
    if kind == "Fail" and not (state.get("Error") and state.get("Cause")):
        yield "a Fail needs Error and Cause"
    if kind == "Choice":
        yield from _choice(state)
    if kind == "Task":
        yield from _task(state)
    if kind == "Map":
        yield from _map(state)
    yield from _expressions({field: value for field, value in state.items() if field != "ItemProcessor"})


def _choice(state: State) -> Iterator[str]:
    if "Default" not in state:
        yield "a Choice needs a Default"
    if not state.get("Choices"):
        yield "a Choice needs Choices"
    for rule in state.get("Choices", []):
        if set(rule) - _RULE or not {"Condition", "Next"} <= set(rule):
            yield f"a rule has the fields {sorted(rule)}"
        elif not is_expression(rule["Condition"]):
            yield f"the Condition {rule['Condition']!r} is no expression"


def _task(state: State) -> Iterator[str]:
    resource = state.get("Resource", "")
    if resource.endswith("lambda:invoke") and "TimeoutSeconds" not in state:
        yield "a function is invoked without a time-out"
    yield from _handlers(state)
    yield from _integration(resource, state.get("Arguments", {}))


def _map(state: State) -> Iterator[str]:
    yield from _handlers(state)
    config = state.get("ItemProcessor", {}).get("ProcessorConfig", {})
    if ("Items" in state) == ("ItemReader" in state):
        yield "there must be either Items or ItemReader"
    if config.get("Mode") == "INLINE":
        yield from (f"{field} is for the distributed mode only" for field in _DISTRIBUTED_ONLY & set(state))
        if not 1 <= state.get("MaxConcurrency", 0) <= 40:
            yield "MaxConcurrency must be from 1 to 40"
        return
    if config.get("Mode") != "DISTRIBUTED" or config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield f"the processor's config is {config}"
    if not 1 <= state.get("MaxConcurrency", 0) <= 10_000:
        yield "MaxConcurrency must be from 1 to 10000"
    if not {"MaxItemsPerBatch", "MaxInputBytesPerBatch"} & set(state.get("ItemBatcher", {"MaxItemsPerBatch": 1})):
        yield "an ItemBatcher needs a size"
    yield from _reader(state.get("ItemReader", {}))


def _reader(reader: dict[str, Any]) -> Iterator[str]:
    if not reader:
        return
    if reader.get("Resource") not in _READERS:
        yield f"{reader.get('Resource')} is no item reader"
    elif missing := _READERS[reader["Resource"]] - set(reader.get("Arguments", {})):
        yield f"the item reader needs the arguments {sorted(missing)}"


def _handlers(state: State) -> Iterator[str]:
    catch = state.get("Catch", [])
    if not catch or catch[-1].get("ErrorEquals") != ["States.ALL"]:
        yield "the last catcher must catch States.ALL"
    yield from (f"a catcher has the fields {sorted(one)}" for one in catch if set(one) - _CATCHER or "Next" not in one)
    for retrier in state.get("Retry", []):
        yield from _retrier(retrier)
    for one in (catch, state.get("Retry", [])):
        yield from _errors([rule.get("ErrorEquals", []) for rule in one])


def _retrier(retrier: dict[str, Any]) -> Iterator[str]:
    yield from (f"{field} is no field of a retrier" for field in set(retrier) - _RETRIER)
    limits = {"IntervalSeconds": (1, 99999999), "MaxAttempts": (0, 99999999), "MaxDelaySeconds": (1, 31622400)}
    for field, (lowest, highest) in limits.items():
        if not lowest <= retrier.get(field, lowest) <= highest:
            yield f"{field} must be from {lowest} to {highest}"
    if retrier.get("BackoffRate", 2) < 1:
        yield "BackoffRate must be at least 1"
    if retrier.get("MaxDelaySeconds", 31622400) <= retrier.get("IntervalSeconds", 1):
        yield "MaxDelaySeconds must be more than IntervalSeconds"
    if retrier.get("JitterStrategy", "FULL") not in ("FULL", "NONE"):
        yield "JitterStrategy must be FULL or NONE"


def _errors(rules: list[list[str]]) -> Iterator[str]:
    for number, names in enumerate(rules):
        if not names:
            yield "ErrorEquals is empty"
        if "States.ALL" in names and (len(names) > 1 or number < len(rules) - 1):
            yield "States.ALL must stand alone, and last"
        yield from (f"there is no error {name}" for name in names if not _is_error(name))


def _is_error(name: str) -> bool:
    prefix, _, error = name.partition(".")
    if name in _STATES_ERRORS | _OWN_ERRORS:
        return True
    return prefix in _SERVICES and error in _shapes(_SERVICES[prefix])


def _integration(resource: str, arguments: dict[str, Any]) -> Iterator[str]:
    """Whether the service has the action, and the action these arguments."""
    found = re.fullmatch(r"arn:aws:states:::(?:aws-sdk:)?([a-z0-9]+):([a-zA-Z]+)", resource)
    if found is None:
        yield f"{resource} is no integration"
        return
    model = _model({"sfn": "stepfunctions"}.get(found[1], found[1]))
    action = found[2][0].upper() + found[2][1:]
    if action not in model.operation_names:
        yield f"{found[1]} has no action {found[2]}"
        return
    shape = model.operation_model(action).input_shape
    # SDK integrations use PascalCase, also where the API uses camelCase.
    case = str.capitalize if "aws-sdk:" in resource else str
    members, required = ({case(one[0]) + one[1:] for one in names} for names in (shape.members, shape.required_members))
    yield from (f"{action} has no argument {one}" for one in set(arguments) - members)
    yield from (f"{action} needs the argument {one}" for one in required - set(arguments))
    yield from _shaped(arguments, shape)
    if found[1] == "dynamodb":
        yield from _dynamodb(arguments)


def _shaped(arguments: dict[str, Any], shape: StructureShape) -> Iterator[str]:
    """Whether the arguments have the types of the API, down to the last value. An expression has the type it needs."""
    members = {name.lower(): name for name in shape.members}
    named = {members[name.lower()]: value for name, value in arguments.items() if name.lower() in members}
    report = ParamValidator().validate(_sample(named, shape), shape)
    yield from report.generate_report().splitlines()


def _sample(value: Any, shape: Shape) -> Any:
    """A value of the definition as the API gets it. Step Functions writes an object as JSON where it needs a text."""
    if is_expression(value):
        empty: dict[str, Any] = {"structure": {}, "map": {}, "list": [], "blob": b"", "boolean": True}
        return empty.get(shape.type_name, 1 if shape.type_name in ("integer", "long") else "x" * 36)
    if isinstance(value, dict) and shape.type_name in ("string", "blob"):
        return json.dumps(value)
    if isinstance(value, dict) and isinstance(shape, StructureShape):
        return {name: _sample(one, shape.members.get(name, shape)) for name, one in value.items()}
    if isinstance(value, dict) and isinstance(shape, MapShape):
        return {name: _sample(one, shape.value) for name, one in value.items()}
    if isinstance(value, list) and isinstance(shape, ListShape):
        return [_sample(one, shape.member) for one in value]
    return value


def _dynamodb(arguments: dict[str, Any]) -> Iterator[str]:
    """Whether the expressions and their names and values agree, and no word is reserved."""
    text = " ".join(arguments[field] for field in ("UpdateExpression", "ConditionExpression") if field in arguments)
    for sign, field in ((":", "ExpressionAttributeValues"), ("#", "ExpressionAttributeNames")):
        used, given = set(re.findall(rf"{sign}\w+", text)), set(arguments.get(field, {}))
        yield from (f"{one} has no value" for one in used - given)
        yield from (f"{one} is not used" for one in given - used)
    words = {word.upper() for word in re.findall(r"(?<![#:\w])[A-Za-z_]\w*", text)}
    known = {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN"}
    yield from (f"{one} is a reserved word" for one in words & set(ReservedKeywords.get_reserved_keywords()) - known)


@cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"))


@cache
def _shapes(service: str) -> set[str]:
    return {shape.name for shape in _model(service).error_shapes}


# Expressions.


def is_expression(value: object) -> bool:
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from texts(inner)


def expressions(part: Any) -> list[str]:
    """The JSONata in a part of the definition, without {% and %}."""
    return [text[2:-2] for text in texts(part) if is_expression(text)]


def variables(expression: str) -> set[str]:
    """The variables that an expression reads, other than those it binds itself."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", expression)
    bound = set(re.findall(r"\$(\w+)\s*:=", bare))
    for parameters in re.findall(r"function\s*\(([^)]*)\)", bare):
        bound |= set(re.findall(r"\$(\w+)", parameters))
    return set(re.findall(r"\$([A-Za-z_]\w*)\b(?!\s*\()", bare)) - bound


def _expressions(state: State) -> Iterator[str]:
    for text in texts({key: value for key, value in state.items() if key != "Comment"}):
        if ("{%" in text or "%}" in text) and not is_expression(text):
            yield f"{text!r} is not wholly an expression"
        if re.match(r"\$\$?[.\w]", text):
            yield f"{text!r} looks like an expression without its marks"
    for expression in expressions(state):
        yield from _expression(expression)
    yield from (f"{key} is JSONPath" for key in _keys(state) if key.endswith(".$"))
    caught = [rule.get(field) for rule in state.get("Catch", []) for field in ("Assign", "Output")]
    if "$states.errorOutput" in str(state) and str(state).count("errorOutput") > str(caught).count("errorOutput"):
        yield "$states.errorOutput is known to catchers only"
    if state["Type"] not in ("Task", "Map") and "$states.result" in str(state):
        yield "$states.result is known to a Task and a Map only"


def _expression(expression: str) -> Iterator[str]:
    try:
        failed = Jsonata(expression).get_errors()
    except Exception as error:  # noqa: BLE001  # whatever the parser raises
        failed = [error]
    if failed:
        yield f"{expression!r} is no JSONata: {failed[0]}"
    known = (set(Jsonata.static_frame.bindings) | _AWS_FUNCTIONS) - _NOT_IN_AWS
    called = set(re.findall(r"\$(\w+)\s*\(", re.sub(r"'[^']*'", "''", expression)))
    yield from (f"there is no function ${name}" for name in called - known)
    for context in re.findall(r"\$states\.context\.(\w+)", expression):
        if context not in _CONTEXT:
            yield f"there is no $states.context.{context}"
    for member in re.findall(r"\$states\.(\w+)", expression):
        if member not in ("input", "result", "errorOutput", "context"):
            yield f"there is no $states.{member}"


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from _keys(inner)


# Variables: each one that is read has been assigned before, on every path.


def _variables(definition: dict[str, Any], at_start: set[str]) -> Iterator[str]:
    states = definition["States"]
    inner = {name for state in states.values() for name in _assigned_inside(state)}
    everything = at_start | {name for state in states.values() for _, assigned in _exits(state) for name in assigned}
    known = {name: set(everything) for name in states} | {definition["StartAt"]: set(at_start)}
    yield from (f"${name} is assigned inside a Map and around it" for name in inner & everything)
    waiting = [definition["StartAt"]]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for target, assigned in _exits(states[name]):
            arriving = known[name] | assigned
            if target in states and (target not in seen or not known[target] <= arriving):
                known[target] &= arriving
                waiting.append(target)
    for name, state in states.items():
        own = {field: value for field, value in state.items() if field != "ItemProcessor"}
        read = {one for expression in expressions(own) for one in variables(expression)} - {"states"}
        yield from (f"{name}: ${one} may not be assigned" for one in read - known[name])
        if processor := state.get("ItemProcessor"):
            # The children of a Distributed Map are separate executions without the variables of their parent.
            inline = processor["ProcessorConfig"]["Mode"] == "INLINE"
            yield from _variables(processor, known[name] if inline else set())


def _assigned_inside(state: State) -> Iterator[str]:
    inside = all_states(state["ItemProcessor"]) if "ItemProcessor" in state else ()
    yield from (name for _, one in inside for _, assigned in _exits(one) for name in assigned)


def _exits(state: State) -> Iterator[tuple[str, set[str]]]:
    """Each transition out of a state, with the variables that it assigns."""
    for rule in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield rule.get("Next", ""), set(rule.get("Assign", {}))
    for field in ("Next", "Default"):
        if field in state:
            yield state[field], set(state.get("Assign", {}))


def _numbers(part: Any) -> Iterator[str]:
    """Fields that must be numbers. A substitution in one would become a text, which AWS rejects."""
    if isinstance(part, list):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        for name, value in part.items():
            if name in _NUMBERS and isinstance(value, str) and not is_expression(value):
                yield f"{name} is the text {value!r}, not a number"
            yield from _numbers(value)


def _substitutions(definition: dict[str, Any], given: set[str]) -> Iterator[str]:
    used = {name for text in texts(definition) for name in re.findall(r"\$\{(\w+)\}", text)}
    yield from (f"${{{name}}} has no value" for name in used - given)
    yield from (f"${{{name}}} is not used" for name in given - used)
