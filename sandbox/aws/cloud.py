"""AWS on one machine: the repo's own template, deployed by moto, its functions run as Lambda runs them."""

import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
from werkzeug.serving import make_server

from sandbox.aws import moto_patches, resources
from sandbox.aws.event_source import Poller
from sandbox.aws.hooks import Hooks
from sandbox.aws.metrics import embedded
from sandbox.aws.moto_patches.s3 import publish_after_requests
from sandbox.aws.moto_patches.stepfunctions import stop_executions
from sandbox.aws.permissions import Call, Grant, Permissions
from sandbox.aws.runtime import Closed, Function, Outcome, Pool, Throttled
from sandbox.aws.template import Template
from sandbox.aws.template import load as load_template

ACCOUNT = "123456789012"
# Credentials that no role has, for whoever owns the account.
_OWNER = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner", "AWS_SESSION_TOKEN": ""}
# What Lambda demands of a function's role before it polls a queue for it, and Step Functions before it logs.
_POLLING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_LOG_DELIVERY = (
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)
# What they demand before they trace.
_TRACING = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_SAMPLING = ("xray:GetSamplingRules", "xray:GetSamplingTargets")
# Moto keeps its state in modules, so there is one cloud at a time in a process.
_only_one = Lock()
# Longer than any function or long poll.
_READ_TIMEOUT = 960


class CloudError(Exception):
    """The cloud can't be started; the text says why and what to do."""


class Cloud:
    """AWS on this machine with one stack deployed, until `close`. One cloud at a time in a process.

    Args:
        template: Path of the SAM template. Code, definitions and nested templates are files next to it.
        stack_name: Name of the stack.
        parameters: Values of the template's parameters.
        port: Port of the endpoint on 127.0.0.1; 0 chooses a free one.
        region: Region of the stack.
        variables: Environment variables that every function gets in addition to its own.
        log: Receives each line that a function logs, as "<logical ID> <line>"; a callable, or a file to append to.
        prepare: Creates what exists in the account before the stack; called with this cloud.
        hooks: Takes part in the cloud's work; see `Hooks`.

    Attributes:
        endpoint: URL of the endpoint for every service.
        outputs: Outputs of the stack by key.
        resources: Physical IDs by logical ID, nested stacks included; an outer stack's resource hides an inner one's.
        skipped: A sentence for each resource or property that the sandbox leaves out.

    Raises:
        CloudError: The stack can't be created, or another cloud is open in this process.
        TemplateError: The template or a parameter is invalid.
    """

    def __init__(
        self,
        template: Path,
        stack_name: str,
        *,
        parameters: Mapping[str, str] = {},
        port: int = 0,
        region: str = "us-east-1",
        variables: Mapping[str, str] = {},
        log: Callable[[str], None] | Path | None = None,
        prepare: Callable[["Cloud"], None] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.stack_name = stack_name
        self.region = region
        self.outputs: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.skipped: list[str] = []
        self._pools: dict[str, Pool] = {}
        self._logs: dict[str, deque[str]] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._clients_lock = Lock()
        self._variables = variables
        self._hooks = hooks or Hooks()
        moto = publish_after_requests(DomainDispatcherApplication(create_backend_app), self._hooks.publish)
        self._permissions = Permissions(self._hooks.wrap(moto), ACCOUNT, region)
        self._closing = contextlib.ExitStack()
        if not _only_one.acquire(blocking=False):
            raise CloudError("another sandbox cloud is open in this process; close it first")
        self._closing.callback(_only_one.release)
        try:
            self._log_line = self._open_log(log)
            self._closing.callback(BackendDict.reset)
            self._closing.enter_context(_own_environment(region))
            self._session = boto3.session.Session()
            self._closing.enter_context(
                moto_patches.apply(self._invoke_api, self._client, self._permissions.may, ACCOUNT, region)
            )
            self._closing.enter_context(self._hooks.patch(ACCOUNT, region))
            self.endpoint = self._serve(port)
            if prepare:
                prepare(self)
            self._deploy(load_template(template, parameters, region))
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
        """Stop everything: pollers, executions, functions, the server; leave no process behind."""
        self._closing.close()

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud that may do everything."""
        return self._client(service, "")

    def warm(self) -> None:
        """Start a process for each function now, so that the first invocation does not wait for its start."""
        for pool in self._pools.values():
            pool.warm()

    def invoke(self, logical_id: str, payload: Any) -> Any:
        """Invoke a function through Lambda's Invoke and return what it returned; FunctionFailed if it failed."""
        answer = self.client("lambda").invoke(
            FunctionName=self.resources[logical_id], Payload=json.dumps(payload).encode()
        )
        result = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise FunctionFailed(result.get("errorType", ""), result.get("errorMessage", ""))
        return result

    def logs(self, logical_id: str) -> str:
        """What a function has logged so far, the platform's START, END and REPORT lines included."""
        return "\n".join(self._logs[self.resources[logical_id]])

    @property
    def calls(self) -> list[Call]:
        """The permissions that roles needed so far, granted or not; `principal` is the role's logical id."""
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        return [replace(c, principal=logical_ids.get(c.principal, c.principal)) for c in list(self._permissions.calls)]

    @property
    def used(self) -> set[Grant]:
        """The grants of roles that were of use so far; `principal` is the role's logical id."""
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        return {replace(g, principal=logical_ids.get(g.principal, g.principal)) for g in set(self._permissions.used)}

    def _open_log(self, log: Callable[[str], None] | Path | None) -> Callable[[str], None]:
        if not isinstance(log, Path):
            return log or (lambda _: None)
        file = self._closing.enter_context(log.open("a", buffering=1))

        def write(line: str) -> None:
            # A function that is killed when the cloud closes may have its last words after that.
            if not file.closed:
                print(line, file=file)

        return write

    def _serve(self, port: int) -> str:
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise CloudError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port") from error
        with listener:
            server = make_server(
                "127.0.0.1",
                port,
                self._permissions,
                threaded=True,
                request_handler=_Handler,
                fd=listener.fileno(),
            )
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._closing.callback(server.server_close)
        self._closing.callback(server.shutdown)
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    def _deploy(self, stack_template: Template) -> None:
        deployment = resources.deploy(stack_template, self.stack_name, self.client, ACCOUNT, self.region)
        self.skipped = deployment.skipped
        stack = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        self.resources = deployment.resources()
        self._closing.callback(stop_executions, ACCOUNT, self.region)
        self._check_roles(deployment)
        self._start_functions(deployment)
        self._start_pollers(deployment)

    def _check_roles(self, deployment: resources.Deployment) -> None:
        """Refuse what AWS would refuse to create because of a role."""
        for properties in deployment.functions.values():
            self._check_trust(properties["Role"], "lambda.amazonaws.com")
            if properties.get("TracingConfig", {}).get("Mode") == "Active":
                self._check_permissions(properties["Role"], _TRACING, "*")
        for mapping in deployment.mappings:
            role = deployment.functions[_function(mapping.function_arn)]["Role"]
            self._check_permissions(role, _POLLING, mapping.event_source_arn)
        for properties in deployment.state_machines.values():
            self._check_trust(properties["RoleArn"], "states.amazonaws.com")
            if properties.get("LoggingConfiguration", {}).get("Level", "OFF") != "OFF":
                self._check_permissions(properties["RoleArn"], _LOG_DELIVERY, "*")
            if properties.get("TracingConfiguration", {}).get("Enabled"):
                self._check_permissions(properties["RoleArn"], (*_TRACING, *_SAMPLING), "*")

    def _check_trust(self, role: str, service: str) -> None:
        if not self._permissions.trusts(role, service):
            raise CloudError(f"{role} cannot be assumed by {service}: its AssumeRolePolicyDocument does not say so")

    def _check_permissions(self, role: str, actions: tuple[str, ...], resource: str) -> None:
        missing = [action for action in actions if not self._permissions.may(role, action, resource)]
        if missing:
            raise CloudError(
                f"{role} lacks {', '.join(missing)} on {resource}, without which AWS creates no such stack"
            )

    def _start_functions(self, deployment: resources.Deployment) -> None:
        logical_ids = {physical: logical for logical, physical in self.resources.items()}
        for name in deployment.functions:
            function = self._hooks.configure(self._function(logical_ids[name], name, deployment))
            self._logs[name] = deque(maxlen=100_000)
            self._pools[name] = Pool(function, partial(self._write_log, function), self._hooks)
            self._closing.callback(self._pools[name].close)

    def _function(self, logical_id: str, name: str, deployment: resources.Deployment) -> Function:
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
                **self._surroundings(properties["Role"]),
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            },
            reserved=properties.get("ReservedConcurrentExecutions"),
        )

    def _surroundings(self, role: str) -> dict[str, str]:
        """What a function's environment has besides the template's variables and Lambda's own."""
        return {
            **_own_settings(self.region),
            **self._permissions.credentials(role),
            # These exist here only; a function in AWS never has them.
            "AWS_ENDPOINT_URL": self.endpoint,
            **self._variables,
        }

    def _start_pollers(self, deployment: resources.Deployment) -> None:
        for mapping in deployment.mappings:
            name = _function(mapping.function_arn)
            sqs = self._client("sqs", deployment.functions[name]["Role"])
            queue = self.client("sqs").get_queue_url(QueueName=_name(mapping.event_source_arn))
            patched: Any = mapping  # moto_patches adds `receiving`
            poller = Poller(patched, sqs, queue["QueueUrl"], self.region, self._pools[name].invoke, self._hooks.polling)
            self._closing.callback(poller.close)

    def _invoke_api(self, name: str, body: Any, headers: Mapping[str, str], answer: dict[str, str]) -> bytes:
        """Lambda's Invoke: run the function now, or later and elsewhere, or only say that it could be run."""
        event = body.encode() if isinstance(body, str) else bytes(body or b"")
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            Thread(target=self._run_unheard, args=(name, event), daemon=True).start()
            return b""
        outcome = self._run(name, event)
        if outcome.failed:
            answer["x-amz-function-error"] = "Unhandled"
        return outcome.payload

    def _run_unheard(self, name: str, event: bytes) -> None:
        # AWS would try a failed asynchronous invocation twice more, after one and two minutes.
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
        logs.ensure_log_group(function.log_group)
        if stream not in logs.groups[function.log_group].streams:
            logs.create_log_stream(function.log_group, stream)
        now = int(unix_time_millis())
        logs.put_log_events(function.log_group, stream, [{"timestamp": now, "message": line} for line in lines])
        for line in lines:
            for namespace, data in embedded(line):
                cloudwatch_backends[ACCOUNT][self.region].put_metric_data(namespace, data)

    def _client(self, service: str, role: str) -> Any:
        make: Any = self._session.client
        with self._clients_lock:
            if (service, role) not in self._clients:
                keys = self._permissions.credentials(role) if role else _OWNER
                self._clients[service, role] = make(
                    service,
                    endpoint_url=self.endpoint,
                    region_name=self.region,
                    aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=keys["AWS_SESSION_TOKEN"],
                    # As Step Functions calls services: no retries of its own, parameters left to the service.
                    config=Config(
                        parameter_validation=not role,
                        retries={"total_max_attempts": 1},
                        read_timeout=_READ_TIMEOUT,
                        max_pool_connections=64,
                    ),
                )
            return self._clients[service, role]


class FunctionFailed(Exception):
    """A function ended in an error; `kind` is its errorType."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class _TooManyRequests(LambdaClientError):
    code = 429


class _Unavailable(LambdaClientError):
    code = 500


class _Handler(MotoRequestHandler):
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: who wants to see calls looks at `Cloud.calls`."""


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _function(arn: str) -> str:
    """The name in a function's ARN, which may end in a version or an alias."""
    return arn.split(":")[6]


def _own_settings(region: str) -> dict[str, str]:
    """AWS settings that keep the user's own configuration, and with it any real account, out of reach."""
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def _own_environment(region: str) -> Iterator[None]:
    """Hide the user's AWS settings from this process while the cloud is up, and set moto's."""
    before = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "MOTO_"))}
    for name in before:
        del os.environ[name]
    ours = {
        **_own_settings(region),
        # Code is not uploaded here, so there is nothing for moto to find in S3.
        "VALIDATE_LAMBDA_S3": "false",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        # Otherwise moto searches the access keys of every account and partition for each request.
        "MOTO_ACCOUNT_ID": ACCOUNT,
    }
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)
