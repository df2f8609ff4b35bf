"""Step Functions: JSONata expressions."""

import json
import re
from functools import lru_cache
from threading import Lock
from typing import Any, cast

from jsonata.functions import Functions
from jsonata.jsonata import Jsonata
from jsonata.utils import Utils
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJSONata
from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as intrinsic
from moto.stepfunctions.parser.asl.eval import states, variable_store
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.jsonata import jsonata
from moto.stepfunctions.parser.asl.jsonata.jsonata import IllegalJSONataVariableReference, JSONataException
from moto.stepfunctions.parser.asl.utils import encoding

from sandbox.aws.moto_patches.patching import Context, Replace

# Encloses a variable's declaration. JSON text can't contain this character.
_MARK = "\x1f"
_DECLARATION = re.compile(rf"{_MARK}\$(\w+)=(.*?){_MARK}")
_evaluation_lock = Lock()


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this part."""
    _evaluate_with_jsonata_python(replace)
    _keep_variables_apart(replace)
    _make_failed_evaluations_catchable(replace)
    _leave_functions_to_the_evaluator(replace)
    _write_texts_as_they_are(replace)


def _evaluate_with_jsonata_python(replace: Replace) -> None:
    # moto 5.2.5: has no evaluator. AWS: evaluates JSONata.
    replace(jsonata, "_eval_jsonata", _evaluate)


def _keep_variables_apart(replace: Replace) -> None:
    # moto 5.2.5: writes the variables into the expression, where a quotation mark in a string breaks it, and where
    # they are parsed again for each evaluation. AWS: variables are values. `_evaluate` takes the declarations out.
    def declare(bindings: dict[str, Any]) -> str:
        encoder = encoding._DateTimeEncoder()
        return "".join(f"{_MARK}{name}={encoder.encode(value)}{_MARK}" for name, value in bindings.items())

    for module in (jsonata, states, variable_store):
        replace(module, "encode_jsonata_variable_declarations", declare)


def _evaluate(expression: str) -> Any:
    values = {name: json.loads(value) for name, value in _DECLARATION.findall(expression)}
    bindings = {name: Utils.NULL_VALUE if value is None else value for name, value in values.items()}
    try:
        with _evaluation_lock:
            parsed = _parse(_DECLARATION.sub("", expression))
            # The expression's functions use the evaluator of their thread.
            Jsonata.CURRENT.jsonata = parsed
            return parsed.evaluate(None, bindings)
    except Exception as error:
        # The evaluator raises any Python exception on a wrong type or value.
        raise JSONataException(type(error).__name__, str(error)) from error


@lru_cache(maxsize=1000)
def _parse(expression: str) -> Jsonata:
    return Jsonata(expression)


def _make_failed_evaluations_catchable(replace: Replace) -> None:
    # moto 5.2.5: an expression that fails is States.Runtime, which can't be caught. AWS: States.QueryEvaluationError.
    evaluate = StringJSONata._eval_body

    def evaluate_or_fail(self: StringJSONata, env: Any) -> None:
        try:
            evaluate(self, env)
        except (JSONataException, IllegalJSONataVariableReference) as error:
            cause = f"The JSONata expression '{self.expression}' threw an error during evaluation. {error}"
            raise FailureEventException(_evaluation_failed(env, cause)) from error

    replace(StringJSONata, "_eval_body", evaluate_or_fail)


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


def _leave_functions_to_the_evaluator(replace: Replace) -> None:
    # moto 5.2.5: $uuid and $hash return the text that they are not supported. AWS: supports them.
    supported = {
        name: function
        for name, function in intrinsic._DECLARATION_BY_VARIABLE_REFERENCE.items()
        if name not in ("$uuid", "$hash")
    }
    replace(intrinsic, "_DECLARATION_BY_VARIABLE_REFERENCE", supported)


def _write_texts_as_they_are(replace: Replace) -> None:
    # jsonata-python 0.7.1: $string escapes characters outside of ASCII in objects. AWS: writes them as they are.
    class Encoder(Functions.Encoder):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "ensure_ascii": False})

    replace(Functions, "Encoder", Encoder)
