"""Authorizes each request of a role by the policies of the template, as IAM does, before moto handles it.

moto 5.2.5: its own authorization evaluates no conditions and few resources. A request with credentials that are not a
role's is the account owner's, who may do everything. Actions and resources of the services:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import hashlib
import io
import json
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.sax.saxutils import escape

from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.iam.models import Role, iam_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from werkzeug.exceptions import NotFound

from sandbox.aws.keys import DEMANDS, key_of, policy
from sandbox.aws.policies import Question, Statement, actions, allowed, granting, statements

# botocore's name of a service by the name in its signatures, where they differ.
_SERVICES = {"states": "stepfunctions", "monitoring": "cloudwatch"}
# The prefix of a service's actions by the name in its signatures, where they differ.
_PREFIXES = {"monitoring": "cloudwatch"}
# S3's operations that need a permission of another name.
_S3_ACTIONS = {
    "HeadObject": "GetObject",
    "GetObjectAttributes": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "UploadPartCopy": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "DeleteObjects": "DeleteObject",
}
_S3_VERSIONED = {"GetObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging", "GetObjectAcl"}
_TRANSACTION_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


@dataclass(frozen=True)
class Call:
    """One permission that a request needed, and whether the policies grant it."""

    principal: str
    action: str
    resource: str
    allowed: bool


@dataclass(frozen=True)
class Grant:
    """One action, as written, of one statement (by its Sid) of one role's policies."""

    principal: str
    statement: str
    action: str


class _Need(NamedTuple):
    action: str
    resource: str


class _Request(NamedTuple):
    """What authorization needs to know of a request."""

    service: str
    operation: str
    protocol: str
    needs: list[_Need]


class Permissions:
    """A WSGI application that authorizes requests before `app` handles them.

    `calls` has the permissions that roles have needed, the newest 100,000, each with the role's name. `used` has every
    grant of a role that has allowed a request.
    """

    def __init__(self, app: App, account: str, region: str) -> None:
        self.calls: deque[Call] = deque(maxlen=100_000)
        self.used: set[Grant] = set()
        self._app = app
        self._account = account
        self._region = region
        self._roles: dict[str, str] = {}

    def credentials(self, role: str) -> dict[str, str]:
        """Environment variables with credentials of a role, which is given by ARN."""
        key = "ASIA" + hashlib.sha256(role.encode()).hexdigest()[:16].upper()
        self._roles[key] = role
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_SESSION_TOKEN": "sandbox"}

    def is_role(self, access_key: str) -> bool:
        """Whether an access key is one of `credentials`."""
        return access_key in self._roles

    def may(self, principal: str, action: str, resource: str, **context: str) -> bool:
        """Whether a role (its ARN) or a service (its name) may perform an action on a resource (its ARN).

        The policies of the resource and of its encryption key count, too. `context` has condition keys in lower case.
        """
        question = Question(principal, action, resource, self._context(principal, resource) | context)
        return self._answer(question) and all(self._answer(one) for one in self._about_key(question))

    def _answer(self, question: Question) -> bool:
        granted = granting([*self._own(question.principal), *self._attached(question.resource)], question)
        name = question.principal.rpartition("/")[2]
        self.calls.append(Call(name, question.action, question.resource, bool(granted)))
        # The statements of resource policies have a Principal; those of a role's policies have none.
        self.used |= {
            Grant(name, one["Sid"], written)
            for one in granted
            if "Sid" in one and "Principal" not in one
            for written in actions(one, question.action)
        }
        return bool(granted)

    def _about_key(self, question: Question) -> Iterator[Question]:
        demands = DEMANDS.get(question.action, ())
        key = key_of(question.resource, self._account, self._region) if demands else None
        # EventBridge sends KMS neither the account nor the rule.
        hidden = ("aws:sourceaccount", "aws:sourcearn") if question.principal == "events.amazonaws.com" else ()
        context = {name: value for name, value in question.context.items() if name not in hidden}
        for action in demands if key else ():
            yield Question(question.principal, action, str(key), context)

    def trusts(self, role: str, service: str) -> bool:
        """Whether a service may assume a role, which is given by ARN."""
        document = _role(self._account, role).assume_role_policy_document
        question = Question(service, "sts:AssumeRole", "*", self._context(service, role))
        return allowed(statements(document), question)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if _expired(environ):
            return _denial("s3", "", "Request has expired")(environ, start_response)
        role = self._roles.get(access_key(environ))
        if role is None:
            return self._app(environ, start_response)
        request = self._read(environ)
        environ["sandbox.call"] = request
        for need in request.needs:
            if not self.may(role, need.action, need.resource):
                return self._refuse(request, role, need)(environ, start_response)
        if request.service == "s3" and request.operation in ("GetObject", "HeadObject"):
            return self._handle_read(environ, start_response, request, role)
        return self._app(environ, start_response)

    def _refuse(self, request: _Request, role: str, need: _Need) -> App:
        session = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/sandbox"
        message = (
            f"User: {session} is not authorized to perform: {need.action} on resource: {need.resource} "
            f"because no policy allows the {need.action} action, or one denies it"
        )
        return _denial(request.service, request.protocol, message)

    def _handle_read(self, environ: Environ, start_response: Any, request: _Request, role: str) -> Iterable[bytes]:
        """Handle a read of an object. Like S3, answer 403 instead of 404 if the role may not list the bucket."""
        started: list[tuple[Any, ...]] = []
        content = self._app(environ, lambda *given: started.append(given))
        if started[0][0].startswith("404"):
            need = request.needs[0]
            listing = "s3:ListBucketVersions" if need.action.endswith("Version") else "s3:ListBucket"
            if not self.may(role, listing, need.resource.partition("/")[0]):
                return self._refuse(request, role, need)(environ, start_response)
        start_response(*started[0])
        return content

    def _context(self, principal: str, resource: str) -> dict[str, str]:
        return {
            # Requests use TLS on AWS; on loopback there is none.
            "aws:securetransport": "true",
            "aws:sourceaccount": self._account,
            "aws:principalaccount": self._account,
            "aws:resourceaccount": self._owner(resource),
            "aws:principalarn": principal,
            "aws:requestedregion": self._region,
        }

    def _owner(self, resource: str) -> str:
        """The account of a resource. The ARN of a bucket does not contain it."""
        if resource.startswith("arn:aws:s3:::"):
            bucket = resource.split(":")[5].partition("/")[0]
            return s3_backends.bucket_accounts.get(bucket, ("aws", self._account))[1]
        parts = resource.split(":", 5)
        return (parts[4] if len(parts) == 6 else "") or self._account

    def _own(self, principal: str) -> Iterator[Statement]:
        if not principal.startswith("arn:"):
            return
        role = _role(self._account, principal)
        documents = [*role.policies.values()]
        documents += [
            version.document for p in role.managed_policies.values() for version in p.versions if version.is_default
        ]
        for document in documents:
            yield from statements(document)

    def _attached(self, resource: str) -> Iterator[Statement]:
        """The statements of the policy of a bucket, queue, topic, or key."""
        if resource == "*":
            return
        service, name = resource.split(":")[2], resource.split(":")[5:]
        if service == "kms":
            yield from policy(resource, self._account, self._region)
            return
        if service == "s3":
            bucket = s3_backends[self._account]["aws"].buckets.get(name[0].partition("/")[0])
            document = bucket.policy.decode() if bucket and bucket.policy else None
        elif service == "sqs":
            queue = sqs_backends[self._account][self._region].queues.get(name[0])
            document = queue.policy if queue else None
        elif service == "sns":
            topic = sns_backends[self._account][self._region].topics.get(resource)
            document = topic.policy if topic else None
        else:
            document = None
        if document:
            yield from statements(document)

    def _read(self, environ: Environ) -> _Request:
        service = _service(environ)
        if service != "s3":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
        received = Request(environ)
        try:
            operation, params = get_service_router(_SERVICES.get(service, service)).match(received)
        except NotFound:
            return _Request(service, "", "", [_Need(f"{service}:Unknown", "*")])
        if service != "s3":
            environ["wsgi.input"] = io.BytesIO(body)  # matching the operation reads a form
        protocol = operation.service_model.protocol
        if protocol == "json":
            params = json.loads(body or b"{}")
        elif service == "s3":
            params = {**params, **received.args, "headers": received.headers}
        needs = [
            _Need(f"{_PREFIXES.get(service, service)}:{action}", resource)
            for action, resource in self._needs(service, operation.name, params)
        ]
        return _Request(service, operation.name, protocol, needs)

    def _needs(self, service: str, operation: str, params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        arn = f"arn:aws:{service}:{self._region}:{self._account}:"
        match service:
            case "s3":
                return _s3_needs(operation, params)
            case "dynamodb":
                return _dynamodb_needs(operation, params, arn)
            case "sqs":
                name = params.get("QueueName") or str(params.get("QueueUrl", "")).rpartition("/")[2]
                return [(operation.removesuffix("Batch"), arn + name)]
            case "secretsmanager" if "SecretId" in params:
                return [(operation, _full(params["SecretId"], arn + "secret:"))]
            case "lambda" if operation == "Invoke":
                return [("InvokeFunction", _full(unquote(params["FunctionName"]), arn + "function:"))]
            case "states":
                resource = params.get("stateMachineArn") or params.get("executionArn")
                return [(operation, resource or "*")]
            case "events" if operation == "PutEvents":
                buses = {entry.get("EventBusName", "default") for entry in params["Entries"]}
                return [(operation, _full(bus, arn + "event-bus/")) for bus in sorted(buses)]
            case _:
                return [(operation, "*")]


def _s3_needs(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    bucket = f"arn:aws:s3:::{params.get('Bucket', '')}"
    resource = f"{bucket}/{params['Key']}" if "Key" in params else bucket
    action = _S3_ACTIONS.get(operation, operation)
    if "versionId" in params and action in _S3_VERSIONED:
        # GetObject becomes GetObjectVersion, GetObjectTagging GetObjectVersionTagging.
        action = action.replace("Object", "ObjectVersion")
    yield action, f"{bucket}/*" if operation == "DeleteObjects" else resource
    headers = params["headers"]
    if "x-amz-copy-source" in headers:
        source = unquote(headers["x-amz-copy-source"]).lstrip("/").partition("?versionId=")
        yield "GetObjectVersion" if source[1] else "GetObject", f"arn:aws:s3:::{source[0]}"
    if "If-Match" in headers and action == "PutObject":
        yield "GetObject", resource
    if "x-amz-tagging" in headers:
        yield "PutObjectTagging", resource


def _dynamodb_needs(operation: str, params: Mapping[str, Any], arn: str) -> Iterator[tuple[str, str]]:
    if operation.startswith("Transact"):
        for item in params["TransactItems"]:
            for kind, body in item.items():
                yield _TRANSACTION_ACTIONS[kind], _full(body["TableName"], arn + "table/")
    elif operation.startswith("Batch"):
        for table in params["RequestItems"]:
            yield operation, _full(table, arn + "table/")
    else:
        table = _full(params.get("TableName", "*"), arn + "table/")
        yield operation, table + (f"/index/{params['IndexName']}" if "IndexName" in params else "")


def _full(name: str, prefix: str) -> str:
    return name if name.startswith("arn:") else prefix + name


def _role(account: str, arn: str) -> Role:
    return iam_backends[account]["aws"].get_role_by_arn(arn)


def _credential(environ: Environ) -> list[str]:
    """The parts of SigV4's credential, from the header or a presigned URL: key, date, region, service, …"""
    _, found, rest = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
    if not found:
        _, found, rest = unquote(environ.get("QUERY_STRING", "")).partition("X-Amz-Credential=")
    return rest.partition("&")[0].partition(",")[0].strip().split("/") if found else []


def access_key(environ: Environ) -> str:
    """The access key that a request is signed with, or an empty string."""
    return next(iter(_credential(environ)), "")


def _service(environ: Environ) -> str:
    return _credential(environ)[3]


def _expired(environ: Environ) -> bool:
    """Whether the request has a presigned URL that has expired. moto 5.2.5: accepts it."""
    query = Request(environ).args if "X-Amz-Expires" in environ.get("QUERY_STRING", "") else {}
    if "X-Amz-Date" not in query:
        return False
    signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return datetime.now(UTC) > signed + timedelta(seconds=int(query["X-Amz-Expires"]))


def _denial(service: str, protocol: str, message: str) -> App:
    """The service's response to a request that is not authorized."""
    if service == "s3":
        body = f"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
        return _answer("403 Forbidden", "application/xml", body)
    if protocol == "query":
        error = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
        return _answer("403 Forbidden", "text/xml", f"<ErrorResponse>{error}</ErrorResponse>")
    status = "400 Bad Request" if protocol == "json" else "403 Forbidden"
    body = json.dumps({"__type": "AccessDeniedException", "message": message})
    return _answer(status, "application/x-amz-json-1.0", body)


def _answer(status: str, content_type: str, body: str) -> App:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        # A response before the body is read resets the connection of a client that is still sending.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        content = b"" if environ["REQUEST_METHOD"] == "HEAD" else body.encode()
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(content))),
            ("x-amzn-ErrorType", "AccessDeniedException"),
            # Step Functions includes it in the error's cause.
            ("x-amzn-RequestId", str(uuid.uuid4())),
        ]
        start_response(status, headers)
        return [content]

    return app
