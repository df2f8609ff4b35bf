"""Step Functions: executions and service integrations. JSONata and Map states have modules of their own."""

import json
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from typing import Any, cast

from moto.core.config import default_user_config
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_aws_sdk
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
from moto.stepfunctions.parser.asl.utils import encoding
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.utils import TMP_THREADS

from sandbox.aws.moto_patches.events import put_service_event
from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of this service, but for JSONata and Map states."""
    _execute_state_machines(replace)
    _parse_definitions_once(replace)
    _serialize_starts(replace)
    _call_services_with_the_role(replace, context.service_client)
    _name_errors_as_aws_does(replace)
    _name_members_as_aws_does(replace)
    _write_times_as_aws_does(replace)
    _publish_status_changes(replace, context)
    _stop_quietly(replace, context)


def stop_executions(account: str, region: str) -> None:
    """Stop every running execution, as StopExecution does."""
    for machine in models.stepfunctions_parser_backends[account][region].state_machines:
        for execution in cast(list[Any], machine.executions):
            if execution.status == "RUNNING" and execution.exec_worker.env is not None:
                execution.stop(stop_date=datetime.now(UTC), error=None, cause="The sandbox was closed.")


def _execute_state_machines(replace: Replace) -> None:
    # moto 5.2.5: returns canned executions by default. AWS: executes the state machine.
    replace(default_user_config["stepfunctions"], "execute_state_machine", True)


def _parse_definitions_once(replace: Replace) -> None:
    # moto 5.2.5: parses the definition for every execution, which takes longer than the execution. AWS: does not.
    parse = AmazonStateLanguageParser.parse

    @lru_cache(maxsize=16)
    def tree(definition: str) -> Any:
        return parse(definition)[1]

    def parse_once(definition: str) -> tuple[Any, Any]:
        return Preprocessor().visit(tree(definition)), tree(definition)

    replace(AmazonStateLanguageParser, "parse", staticmethod(parse_once))


def _serialize_starts(replace: Replace) -> None:
    # moto 5.2.5: concurrent StartExecutions of one name both succeed; a name is required. AWS: one of them fails;
    # without a name, AWS generates one. moto also keeps every thread that it ever started.
    start = models.StepFunctionsParserBackend.start_execution
    lock = Lock()

    def start_alone(self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        with lock:
            TMP_THREADS.clear()
            return start(self, state_machine_arn, name or str(uuid.uuid4()), *args, **kwargs)

    replace(models.StepFunctionsParserBackend, "start_execution", start_alone)


def _call_services_with_the_role(replace: Replace, service_client: Callable[[str, str], Any]) -> None:
    # moto 5.2.5: creates a client for each call, for a fixed port and without the role. AWS: uses the role. Every
    # integration's module has imported the function by name.
    def client(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001  # moto's signature
        made = service_client(service, state_credentials.role_arn)
        if service == "s3":
            made.meta.events.register("provide-client-params.s3.PutObject", _write_json, unique_id="json-body")
        return made

    for module in [module for name, module in sys.modules.items() if name.startswith("moto.stepfunctions.")]:
        if hasattr(module, "boto_client_for"):
            replace(module, "boto_client_for", client)


def _write_json(params: dict[str, Any], **_: object) -> None:
    # moto 5.2.5: passes a Body that is not text unchanged. AWS: writes it as JSON.
    if "Body" in params and not isinstance(params["Body"], str | bytes):
        params["Body"] = to_json_str(params["Body"], (",", ":")).encode()


def _name_errors_as_aws_does(replace: Replace) -> None:
    # moto 5.2.5: has the error names of two SDK integrations. AWS: writes S3.NoSuchBucketException, and so on.
    names = state_task_service_aws_sdk._SERVICE_ERROR_NAMES
    known = {**names, "s3": "S3", "sqs": "Sqs", "eventbridge": "EventBridge", "secretsmanager": "SecretsManager"}
    replace(state_task_service_aws_sdk, "_SERVICE_ERROR_NAMES", known)


def _name_members_as_aws_does(replace: Replace) -> None:
    # moto 5.2.5: SDK integrations of Step Functions itself use the camelCase of its API. AWS: uses PascalCase.
    def parameters(self: Any, parameters: dict[str, Any], *_: Any, **__: Any) -> None:
        _rename(self, parameters, str.lower)

    def response(self: Any, response: Any, *_: Any, **__: Any) -> None:
        _rename(self, response, str.upper)

    replace(state_task_service_aws_sdk.StateTaskServiceAwsSdk, "_normalise_parameters", parameters)
    replace(state_task_service_aws_sdk.StateTaskServiceAwsSdk, "_normalise_response", response)


def _rename(task: Any, members: dict[str, Any], first_letter: Callable[[str], str]) -> None:
    for name in list(members) if task.resource.api_name == "sfn" else []:
        members[first_letter(name[0]) + name[1:]] = members.pop(name)


def _write_times_as_aws_does(replace: Replace) -> None:
    # moto 5.2.5: writes times with microseconds and +00:00. AWS: writes 2026-01-31T12:00:00.123Z.
    def default(_: Any, value: Any) -> str:
        return _timestamp(value) if isinstance(value, datetime) else str(value)

    replace(encoding._DateTimeEncoder, "default", default)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _publish_status_changes(replace: Replace, context: Context) -> None:
    # moto 5.2.5: publishes no events, and DescribeExecution returns an output that is text as it is. AWS: publishes
    # every change of an execution's status; the output is JSON.
    terminated = BaseExecutionWorkerCommunication.terminated

    def publish(self: Any) -> None:
        terminated(self)
        detail = json.loads(to_json_str(self.execution.to_describe_output()))
        if isinstance(self.execution.output, str):
            self.execution.output = to_json_str(self.execution.output)
        milliseconds = {
            name: int(datetime.fromisoformat(detail[name]).timestamp() * 1000) for name in ("startDate", "stopDate")
        }
        put_service_event(
            context.account,
            context.region,
            source="aws.states",
            kind="Step Functions Execution Status Change",
            resource=detail["executionArn"],
            detail={"error": None, "cause": None, "output": None, **detail, **milliseconds},
        )

    replace(BaseExecutionWorkerCommunication, "terminated", publish)


def _stop_quietly(replace: Replace, context: Context) -> None:
    # moto 5.2.5: an execution continues in its thread after it was stopped, and after the sandbox was closed, and
    # prints a traceback if a call then fails. AWS: a stopped execution calls nothing.
    execute: Any = ExecutionWorker._execution_logic

    def execute_until_stopped(self: Any) -> None:
        try:
            execute(self)
        except Exception:
            is_stopped = self.env is not None and isinstance(self.env.program_state(), ProgramStopped)
            if not is_stopped and not context.is_closing():
                raise

    replace(ExecutionWorker, "_execution_logic", execute_until_stopped)
