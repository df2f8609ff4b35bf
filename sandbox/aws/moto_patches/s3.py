"""S3: events for EventBridge, notification settings, and bucket policies."""

import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from threading import local
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlparse

from moto.core.responses import ActionResult
from moto.iam.access_control import PermissionResult
from moto.moto_server.utilities import RegexConverter
from moto.s3 import notifications
from moto.s3.exceptions import MissingKey, PreconditionFailed
from moto.s3.models import FakeBucket, MultipartChecksumBuilder
from moto.s3.responses import S3Response

from sandbox.aws.moto_patches.events import put_service_event
from sandbox.aws.moto_patches.patching import Context, Replace

# The event's "reason", by moto's name of the notification.
_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
}


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of this service."""
    _publish_events(replace, context.account)
    _report_event_bridge(replace)
    _leave_bucket_policies_to_the_sandbox(replace)
    _check_conditions_of_copies(replace)
    _accept_line_breaks(replace)
    _encode_keys_of_versions(replace)
    _mark_checksums_of_parts(replace)
    _allow_presigned_response_headers(replace)


def _allow_presigned_response_headers(replace: Replace) -> None:
    # moto 5.2.5: with a delete marker, a presigned GET of an older version is refused if its URL sets a header of the
    # response. AWS: it returns the version (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
    is_invalid = S3Response._invalid_headers

    def checked(self: S3Response, url: str, headers: dict[str, str]) -> bool:
        return is_invalid(self, re.sub("[?&]response-[^&]*", "", url), headers)

    replace(S3Response, "_invalid_headers", checked)


def _mark_checksums_of_parts(replace: Replace) -> None:
    # moto 5.2.5: the checksum of a multipart upload's checksums looks like that of the whole object. AWS: it ends in
    # the number of parts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
    build = MultipartChecksumBuilder.build

    def marked(self: MultipartChecksumBuilder) -> tuple[str, str, int] | None:
        found = build(self)
        if found is None or found[0] != "COMPOSITE":
            return found
        kind, value, parts = found
        return kind, f"{value}-{parts}", parts

    replace(MultipartChecksumBuilder, "build", marked)


def _encode_keys_of_versions(replace: Replace) -> None:
    # moto 5.2.5: ListObjectVersions ignores encoding-type, so a key with a character that XML can't contain is an error
    # 500. AWS: keys are encoded (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html).
    list_versions = S3Response.list_object_versions

    def list_encoded(self: S3Response) -> Any:
        if self.querystring.get("encoding-type") == ["url"]:
            serialize = self.serialized
            self.serialized = lambda found: serialize(ActionResult(_encoded(found.result)))  # type: ignore[assignment]  # for this request
        return list_versions(self)

    replace(S3Response, "list_object_versions", list_encoded)


def _encoded(found: Any) -> Any:
    """The result of ListObjectVersions with every key URL-encoded."""
    if isinstance(found, list):
        return [_encoded(one) for one in found]
    if not isinstance(found, dict):
        return found
    names = ("Key", "Prefix", "Delimiter", "KeyMarker", "NextKeyMarker")
    encoded = {name: quote(one) if name in names and one else _encoded(one) for name, one in found.items()}
    return encoded | ({"EncodingType": "url"} if "Versions" in found else {})


def _accept_line_breaks(replace: Replace) -> None:
    # moto 5.2.5: a key with a line break matches no route, so the answer is 404. AWS: a key may contain any character.
    create = RegexConverter.__init__

    def init(self: RegexConverter, url_map: Any, *items: Any) -> None:
        create(self, url_map, *items)
        self.regex = f"(?s:{self.regex})"

    replace(RegexConverter, "__init__", init)


def _publish_events(replace: Replace, account: str) -> None:
    # moto 5.2.5: events have a constant sequencer and constant IDs, eTag instead of etag, and the notification's name
    # as the reason. AWS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    sequence = count(int(datetime.now(UTC).timestamp() * 1000) << 20)

    def send(_: str, bucket: Any, event_name: str, key: Any) -> None:
        kind = notifications._detail_type(event_name)
        detail = _detail(bucket.name, event_name, key, account, f"{next(sequence):018X}")
        _request.events[bucket.name, key.name, key.version_id, kind] = partial(
            put_service_event,
            account,
            bucket.region_name,
            source="aws.s3",
            kind=kind,
            resource=bucket.arn,
            detail=detail,
        )

    replace(notifications, "_send_event_bridge_message", send)


def _detail(bucket: str, event_name: str, key: Any, account: str, sequencer: str) -> dict[str, Any]:
    name = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
    entry: dict[str, Any] = {"key": key.name}
    if hasattr(key, "size"):  # not a delete marker that is deleted
        entry |= {"size": key.size, "etag": key.etag.strip('"')}
    if key.version_id and key.version_id != "null":
        entry["version-id"] = key.version_id
    return {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {**entry, "sequencer": sequencer},
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account,
        "source-ip-address": "127.0.0.1",
        "reason": _REASONS.get(name, name),
    }


class _Request(local):
    """The events of the request that a thread handles; the last of a kind about an object version counts."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, str | None, str], Callable[[], None]] = {}


_request = _Request()


def publish_after_requests(
    app: Callable[..., Iterable[bytes]], publish: Callable[[Callable[[], None]], None]
) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that publishes each request's events after `app` has handled it.

    moto 5.2.5: publishes during the request, before an object has its metadata, and twice for a multipart upload.
    AWS: publishes once the object is complete.
    """

    def run(environ: Any, start_response: Any) -> Iterable[bytes]:
        _request.events = {}
        content = app(environ, start_response)
        for send in _request.events.values():
            publish(send)
        return content

    return run


def _report_event_bridge(replace: Replace) -> None:
    # moto 5.2.5: GetBucketNotificationConfiguration omits EventBridge. AWS: includes it.
    serialized = S3Response.serialized

    def add(self: S3Response, answer: ActionResult) -> Any:
        if self.data.get("Action") == "GetBucketNotificationConfiguration" and isinstance(answer.result, dict):
            found = self.backend.get_bucket_notification_configuration(self.bucket_name)
            if found and found.event_bridge is not None:
                answer.result["EventBridgeConfiguration"] = {}
        return serialized(self, answer)

    replace(S3Response, "serialized", add)


def _check_conditions_of_copies(replace: Replace) -> None:
    # moto 5.2.5: CopyObject ignores the conditions on its destination, and on the ETag of its source. AWS: checks them.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    copy = S3Response.copy_object

    def checked(self: S3Response) -> Any:
        source = urlparse(self.headers["x-amz-copy-source"])
        bucket, _, key = unquote(source.path).lstrip("/").partition("/")
        version = parse_qs(source.query).get("versionId", [None])[0]
        found = self.backend.get_object(bucket, key, version_id=version)
        wanted = self.headers.get("x-amz-copy-source-if-match")
        if found and wanted and wanted.strip('"') != found.etag.strip('"'):
            raise PreconditionFailed("x-amz-copy-source-If-Match")
        existing = self.backend.get_object(self.bucket_name, self.parse_key_name())
        wanted = self.headers.get("If-Match")
        if wanted and not existing:
            raise MissingKey
        if wanted and existing and wanted.strip('"') != existing.etag.strip('"'):
            raise PreconditionFailed("If-Match")
        if existing and self.headers.get("If-None-Match") == "*":
            raise PreconditionFailed("If-None-Match")
        return copy(self)

    replace(S3Response, "copy_object", checked)


def _leave_bucket_policies_to_the_sandbox(replace: Replace) -> None:
    # moto 5.2.5: ignores conditions, so a statement that denies plain HTTP denies everything. AWS: evaluates them, as
    # `permissions` does here.
    replace(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
