"""AWS on one machine: a SAM template deployed by moto, its functions run as Lambda runs them."""

import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from moto.awslambda.exceptions import LambdaClientError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.base_backend import BackendDict
from moto.core.utils import unix_time_millis
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs.models import sqs_backends
from werkzeug.serving import make_server

from sandbox.aws import environment, moto_patches
from sandbox.aws.deployment import Deployment
from sandbox.aws.errors import CloudError, FunctionFailed
from sandbox.aws.event_source import Poller
from sandbox.aws.gate import Gate
from sandbox.aws.hooks import Hooks
from sandbox.aws.metrics import embedded
from sandbox.aws.moto_patches.s3 import publish_after_requests
from sandbox.aws.moto_patches.stepfunctions import stop_executions
from sandbox.aws.permissions import Call, Grant, Permissions, access_key
from sandbox.aws.role_checks import check_roles
from sandbox.aws.runtime import Closed, Function, Outcome, Pool, Throttled
from sandbox.aws.stacks import deploy
from sandbox.aws.template import Template
from sandbox.aws.template import load as load_template

__all__ = ["ACCOUNT", "Call", "Cloud", "CloudError", "FunctionFailed", "Grant"]

ACCOUNT = "123456789012"
# moto keeps its state in modules.
_only_one = Lock()
# Seconds; longer than any function runs, or any long poll takes.
_READ_TIMEOUT = 960


class Cloud:
    """AWS on this machine, usually with one stack deployed, until `close`. One cloud at a time in a process.

    Args:
        template: Path of the SAM template. Code, definitions and nested templates are files next to it. Without
            one, the stack is created by the first change set that is executed.
        stack_name: Name of the stack.
        parameters: Values of the template's parameters.
        port: Port of the endpoint on 127.0.0.1; 0 chooses a free one.
        region: Region of the stack.
        variables: Environment variables that every function gets in addition to its own.
        log: Receives each line that a function logs, as "<logical ID> <line>"; a callable, or a file to append to.
        prepare: Creates what exists in the account before the stack; called with this cloud.
        complete: Does what is left to do when the stack is created; called with this cloud. Other clients' requests
            wait until it returns.
        hooks: Takes part in the cloud's work; see `Hooks`.

    Attributes:
        endpoint: URL of the endpoint for every service.
        outputs: Outputs of the stack by key.
        resources: Physical IDs by logical ID, nested stacks included; an outer stack's resource hides an inner one's.
        skipped: A sentence for each resource or property that the sandbox leaves out.
        is_closing: Whether `close` was called.

    Raises:
        CloudError: The stack can't be created, or another cloud is open in this process.
        TemplateError: The template or a parameter is invalid.
    """

    def __init__(
        self,
        template: Path | None,
        stack_name: str,
        *,
        parameters: Mapping[str, str] = {},
        port: int = 0,
        region: str = "us-east-1",
        variables: Mapping[str, str] = {},
        log: Callable[[str], None] | Path | None = None,
        prepare: Callable[["Cloud"], None] | None = None,
        complete: Callable[["Cloud"], None] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.stack_name = stack_name
        self.region = region
        self.outputs: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.skipped: list[str] = []
        self.is_closing = False
        self._pools: dict[str, Pool] = {}
        self._logs: dict[str, deque[str]] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._clients_lock = Lock()
        self._variables = variables
        self._hooks = hooks or Hooks()
        moto = publish_after_requests(DomainDispatcherApplication(create_backend_app), self._hooks.publish)
        self._permissions = Permissions(self._hooks.wrap(moto), ACCOUNT, region)
        # The account's owner may do everything. This key is not one that a client would choose.
        self._owner = {"AWS_ACCESS_KEY_ID": f"owner-{secrets.token_hex(8)}", "AWS_SECRET_ACCESS_KEY": "owner"}
        self._gate = Gate(self._permissions, self._is_own)
        self._closing = contextlib.ExitStack()
        if not _only_one.acquire(blocking=False):
            raise CloudError("another sandbox cloud is open in this process; close it first")
        self._closing.callback(_only_one.release)
        try:
            self._log_line = self._open_log(log)
            self._closing.callback(BackendDict.reset)
            self._closing.enter_context(environment.isolated(ACCOUNT, region))
            self._session = boto3.session.Session()
            folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="packaged-")))
            self._closing.enter_context(
                moto_patches.apply(
                    self._invoke_api,
                    self._client,
                    self._permissions.may,
                    self._deploy_later,
                    lambda: self.is_closing,
                    folder,
                    ACCOUNT,
                    region,
                )
            )
            self._closing.enter_context(self._hooks.patch(ACCOUNT, region))
            self.endpoint = self._serve(port)
            if prepare:
                prepare(self)
            if template:
                self._deploy(load_template(template, parameters, region), stack_name)
            if complete:
                complete(self)
            self._gate.open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the pollers, the executions, the functions, and the server."""
        self.is_closing = True
        self._closing.close()

    def client(self, service: str) -> Any:
        """A boto3 client with the permissions of the account's owner."""
        return self._client(service, "")

    def warm(self) -> None:
        """Start a process for each function now, so that the first invocation does not wait for its start."""
        for pool in self._pools.values():
            pool.warm()

    def update_function(self, logical_id: str, variables: Mapping[str, str]) -> None:
        """Deploy a new version of a function, with more environment variables or other values."""
        pool = self._pools[self.resources[logical_id]]
        pool.update(replace(pool.function, variables={**pool.function.variables, **variables}))

    def invoke(self, logical_id: str, payload: Any) -> Any:
        """Invoke a function and return its result.

        `payload` and the result are JSON values. Raises FunctionFailed when the function ends in an error.
        """
        answer = self.client("lambda").invoke(
            FunctionName=self.resources[logical_id], Payload=json.dumps(payload).encode()
        )
        result = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise FunctionFailed(result.get("errorType", ""), result.get("errorMessage", ""))
        return result

    def logs(self, logical_id: str) -> str:
        """The log of a function so far, with the START, END, and REPORT lines of the platform."""
        return "\n".join(self._logs[self.resources[logical_id]])

    @property
    def calls(self) -> list[Call]:
        """The permissions that roles have needed so far, granted or not; `principal` is the role's logical ID."""
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        return [replace(c, principal=logical_ids.get(c.principal, c.principal)) for c in list(self._permissions.calls)]

    @property
    def used(self) -> set[Grant]:
        """The grants of roles that have allowed a request so far; `principal` is the role's logical ID."""
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        return {replace(g, principal=logical_ids.get(g.principal, g.principal)) for g in set(self._permissions.used)}

    def _open_log(self, log: Callable[[str], None] | Path | None) -> Callable[[str], None]:
        if not isinstance(log, Path):
            return log or (lambda _: None)
        file = self._closing.enter_context(log.open("a", buffering=1, encoding="utf-8"))

        def write(line: str) -> None:
            # The output of a function that is killed on close may arrive after the file is closed.
            if not file.closed:
                print(line, file=file)

        return write

    def _serve(self, port: int) -> str:
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            # `strerror` repeats the address in words of its own.
            reason = os.strerror(error.errno or 0)
            raise CloudError(f"cannot listen on 127.0.0.1:{port}: {reason}; choose another port") from error
        with listener:
            server = make_server(
                "127.0.0.1",
                port,
                self._gate,
                threaded=True,
                request_handler=_Handler,
                fd=listener.fileno(),
            )
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._closing.callback(server.server_close)
        self._closing.callback(server.shutdown)
        self._closing.callback(self._gate.close)
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    def _deploy_later(self, stack_template: Template, name: str) -> None:
        """Deploy a stack of a change set. Requests of clients wait meanwhile."""
        self._gate.hold()
        try:
            self.stack_name = name
            self._deploy(stack_template, name)
        finally:
            self._gate.open()

    def _deploy(self, stack_template: Template, name: str) -> None:
        deployment = deploy(stack_template, name, self.client, ACCOUNT, self.region)
        self.skipped = deployment.skipped
        stack = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        self.resources = deployment.resources()
        self._closing.callback(stop_executions, ACCOUNT, self.region)
        check_roles(deployment, self._permissions)
        self._start_functions(deployment)
        self._start_pollers(deployment)

    def _start_functions(self, deployment: Deployment) -> None:
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        for name in deployment.functions:
            function = self._hooks.configure(self._function(logical_ids[name], name, deployment))
            self._logs[name] = deque(maxlen=100_000)
            self._pools[name] = Pool(function, partial(self._write_log, function), self._hooks)
            self._closing.callback(self._pools[name].close)

    def _function(self, logical_id: str, name: str, deployment: Deployment) -> Function:
        properties = deployment.functions[name]
        variables = properties.get("Environment", {}).get("Variables", {})
        runtime = properties["Runtime"]
        return Function(
            logical_id=logical_id,
            name=name,
            arn=f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{name}",
            role=properties["Role"],
            handler=properties["Handler"],
            timeout=int(properties.get("Timeout", 3)),
            memory=int(properties.get("MemorySize", 128)),
            code=deployment.code[name],
            layers=tuple(deployment.layers[arn] for arn in properties.get("Layers", [])),
            log_group=properties.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            variables={
                **{key: str(value) for key, value in variables.items()},
                **self._runtime_variables(properties["Role"]),
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            },
            reserved=properties.get("ReservedConcurrentExecutions"),
        )

    def _runtime_variables(self, role: str) -> dict[str, str]:
        """Environment variables of a function besides those of the template and those that `runtime` sets."""
        return {
            **environment.settings(self.region),
            **self._permissions.credentials(role),
            # A function on AWS has no such variables.
            "AWS_ENDPOINT_URL": self.endpoint,
            **self._variables,
        }

    def _start_pollers(self, deployment: Deployment) -> None:
        for mapping in deployment.mappings:
            name = _function(mapping.function_arn)
            sqs = self._client("sqs", deployment.functions[name]["Role"])
            queue = self.client("sqs").get_queue_url(QueueName=_name(mapping.event_source_arn))
            patched: Any = mapping  # with `receiving`, from moto_patches
            wait = sqs_backends[ACCOUNT][self.region].queues[_name(mapping.event_source_arn)].wait_for_messages
            invoke = self._pools[name].invoke
            poller = Poller(patched, sqs, queue["QueueUrl"], self.region, wait, invoke, self._hooks.polling)
            self._closing.callback(poller.close)

    def _invoke_api(self, name: str, body: Any, headers: Mapping[str, str], answer: dict[str, str]) -> bytes:
        """Lambda's Invoke for every invocation type; adds to the response's headers, `answer`."""
        event = body.encode() if isinstance(body, str) else bytes(body or b"")
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            Thread(target=self._run_asynchronously, args=(name, event), daemon=True).start()
            return b""
        outcome = self._run(name, event)
        if outcome.failed:
            answer["x-amz-function-error"] = "Unhandled"
        return outcome.payload

    def _run_asynchronously(self, name: str, event: bytes) -> None:
        # AWS retries a failed asynchronous invocation twice, after one and two minutes. The sandbox does not.
        with contextlib.suppress(LambdaClientError):
            self._run(name, event)

    def _run(self, name: str, event: bytes) -> Outcome:
        try:
            return self._pools[name].invoke(event or b"{}")
        except Throttled as error:
            raise _TooManyRequests("TooManyRequestsException", "Rate Exceeded.") from error
        except Closed as error:
            raise _Unavailable("ServiceException", "The sandbox is being closed.") from error

    def _write_log(self, function: Function, stream: str, lines: list[str]) -> None:
        self._logs[function.name].extend(lines)
        for line in lines:
            self._log_line(f"{function.logical_id} {line}")
        target = f"arn:aws:logs:{self.region}:{ACCOUNT}:log-group:{function.log_group}:log-stream:{stream}"
        if not all(
            self._permissions.may(function.role, f"logs:{a}", target) for a in ("CreateLogStream", "PutLogEvents")
        ):
            return
        logs = logs_backends[ACCOUNT][self.region]
        if function.log_group not in logs.groups:  # deleted, and no role may create it
            return
        if stream not in logs.groups[function.log_group].streams:
            logs.create_log_stream(function.log_group, stream)
        now = int(unix_time_millis())
        logs.put_log_events(function.log_group, stream, [{"timestamp": now, "message": line} for line in lines])
        for line in lines:
            for namespace, data in embedded(line):
                cloudwatch_backends[ACCOUNT][self.region].put_metric_data(namespace, data)

    def _is_own(self, environ: dict[str, Any]) -> bool:
        """Whether a request is this object's own, or one of the stack's functions or workflows."""
        key = access_key(environ)
        return key == self._owner["AWS_ACCESS_KEY_ID"] or self._permissions.is_role(key)

    def _client(self, service: str, role: str) -> Any:
        make: Any = self._session.client
        with self._clients_lock:
            if (service, role) not in self._clients:
                keys = self._permissions.credentials(role) if role else self._owner
                self._clients[service, role] = make(
                    service,
                    endpoint_url=self.endpoint,
                    region_name=self.region,
                    aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=keys.get("AWS_SESSION_TOKEN"),
                    # Step Functions does not retry, and leaves the validation of parameters to the service.
                    config=Config(
                        parameter_validation=not role,
                        retries={"total_max_attempts": 1},
                        read_timeout=_READ_TIMEOUT,
                        max_pool_connections=64,
                    ),
                )
            return self._clients[service, role]


class _TooManyRequests(LambdaClientError):
    code = 429


class _Unavailable(LambdaClientError):
    code = 500


class _Handler(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing; `Cloud.calls` has the requests of roles."""


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _function(arn: str) -> str:
    """The function's name in an ARN, which may end in a version or an alias."""
    return arn.split(":")[6]
