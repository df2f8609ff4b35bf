"""The two buckets: inspects an upload, presigns it for the enhancer, and writes the enhanced photo."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus, urlencode

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop import checksums, containers, dimensions, images, object_properties
from lumendrop.aws_errors import GONE, error_code
from lumendrop.containers import EndsReader, Image
from lumendrop.images import Format
from lumendrop.metadata.blocks import LeftOut
from lumendrop.metadata.spliced import Spliced
from lumendrop.object_properties import ObjectProperties
from lumendrop.outcomes import Rejected
from lumendrop.uploads import BackfillItem, Upload, is_newer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

URL_SECONDS = 3600
"""How long the enhancer may fetch the photo with its presigned URL."""

_HEAD_BYTES = 1 << 17  # EXIF with its thumbnail, a color profile, and the dimensions come first
_TAIL_BYTES = 1 << 17
_PARTIAL = (".filepart", ".part", ".partial", ".crdownload")
_MOST_KEY_BYTES = 1024
_MOST_METADATA_BYTES = 2048  # S3's limit for all names and values together
_MOST_SOURCE_KEY_BYTES = 1024
_SOURCE_NAMES = ("source-bucket", "source-key", "source-key-base64", "source-version-id", "sequencer")
_OWN_NAMES = frozenset(
    [
        *_SOURCE_NAMES,
        *("source-pixels", "source-pictures", "result-pixels", "result-bytes", "correlation-id", "same-as", "task-id"),
        *("attempt", "model", "resolution", "creativity", "resemblance", "profile-ids", "metadata", "carried-over"),
        *("left-out", "warnings", "sidecar"),
    ]
)
_TAGS_REFUSED = ("AccessDenied", "InvalidTag", "BadRequest")
_LONG_NAMES = frozenset(["profile-ids"])  # has up to 2.5 KB
_MOST_TEXT, _MOST_LEFT_OUT = 200, 600
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
_WRITE_TRIES = 8
_GET_DENIED = ("AccessDenied", "403")
# HEAD has no body, so its error codes are statuses. Objects encrypted with a customer-provided key (SSE-C) cause 400.
_HEAD_REFUSED = ("400", "403")
# Of the errors of KMS, which S3 passes on: those that are over by themselves.
_KMS_TEMPORARY = ("Throttling", "Timeout", "Internal", "Unavailable")
_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", *GONE)


class OwnResult(Exception):
    """The object is an enhanced photo that was copied into the input bucket."""


class Source(msgspec.Struct, frozen=True):
    """An inspected upload: its format, according to its bytes, its metadata, and what else its object has."""

    upload: Upload
    format: Format
    metadata: Mapping[str, str]
    properties: ObjectProperties = ObjectProperties()


class DeliveredObject(msgspec.Struct, frozen=True):
    """Where an enhanced photo is stored. `bytes` is its size, `pixels` its width and height as in `4096x3072`.

    `smaller` means that it has fewer pixels than its upload. `carried_over` is what it has of its upload's metadata,
    and `left_out` what it lacks and why. `sidecar` is the key of the XMP file next to a photo that was not modified.
    """

    bucket: str
    key: str
    version_id: str
    bytes: int
    format: str
    pixels: str | None = None
    smaller: bool = False
    warnings: list[str] = []
    carried_over: list[str] = []
    left_out: list[str] = []
    sidecar: str | None = None


class Result(msgspec.Struct, frozen=True):
    """The content to deliver, which is a whole image, and its provenance, which becomes metadata (ASCII).

    `properties` are those of the upload's object. `carried`, `left_out`, and `warnings` are about the content.
    """

    content: Spliced
    sha256: str
    image: Image
    provenance: Mapping[str, str]
    properties: ObjectProperties = ObjectProperties()
    carried: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    sidecar: bytes | None = None


class Reusable(msgspec.Struct, frozen=True):
    """An enhanced photo in the output bucket that other uploads of the same photo can get."""

    bucket: str
    key: str
    etag: str
    bytes: int
    format: Format
    metadata: Mapping[str, str]


class LostRace(Exception):
    """Other functions kept writing the same output key. A later attempt can succeed."""


def resolve_version(client: S3Client, item: BackfillItem) -> Upload | None:
    """The current version of an object in a versioned bucket, or None if it was deleted.

    An object that is older than the bucket's versioning has the version "null". S3 returns sequencers only in events.
    """
    try:
        found = _head(client, item.bucket, item.key)
    except ClientError as error:
        if error_code(error) not in _HEAD_REFUSED:
            raise
        return _listed_version(client, item)
    if found is None:
        return None
    version_id, etag = found.get("VersionId", "null"), found["ETag"].strip('"')
    return Upload(item.bucket, item.key, version_id, "", found["ContentLength"], etag)


def _listed_version(client: S3Client, item: BackfillItem) -> Upload | None:
    """As `resolve_version`, for an object that S3 lists but does not return."""
    page = client.list_object_versions(Bucket=item.bucket, Prefix=item.key, MaxKeys=1)
    for one in page.get("Versions", []):
        if one["Key"] == item.key and one["IsLatest"]:
            return Upload(item.bucket, item.key, one["VersionId"], "", one["Size"], one["ETag"].strip('"'))
    return None


def inspect(client: S3Client, upload: Upload, most_bytes: int) -> Source:
    """Reads the first bytes, the last bytes, and the metadata of an upload.

    Raises Rejected if it can't be enhanced, and OwnResult.
    """
    if not upload.is_versioned:
        raise Rejected("bucket_not_versioned", bucket=upload.bucket)
    if upload.key.lower().endswith(_PARTIAL):
        raise Rejected("truncated", detail="Transfer tools use the extension of this key for incomplete files.")
    upload, found = _open(client, upload)
    if _is_result(found["Metadata"], upload.size):
        raise OwnResult
    if upload.size > most_bytes:
        raise Rejected("too_big", size=upload.size, limit=most_bytes)
    head = found["Body"].read()
    try:
        image = containers.examine(EndsReader(upload.size, head, _read_tail(client, upload, len(head))))
    except containers.Broken as error:
        raise Rejected(error.code, detail=error) from None
    upload = msgspec.structs.replace(upload, pixels=image.pixels, pictures=image.pictures)
    return Source(upload, image.format, found["Metadata"], object_properties.from_response(found))


def _is_result(metadata: Mapping[str, str], size: int) -> bool:
    """Whether an object of `size` bytes is an enhanced photo. Tools that edit a photo can keep its metadata."""
    is_marked = {"task-id", "source-version-id"} <= metadata.keys()
    return is_marked and metadata.get("result-bytes", str(size)) == str(size)  # results of earlier versions lack it


def _read_tail(client: S3Client, upload: Upload, head_bytes: int) -> bytes:
    """The last bytes of an upload, without those that were already read."""
    start = max(head_bytes, upload.size - _TAIL_BYTES)
    if start >= upload.size:
        return b""
    try:
        found = _get(client, upload, f"bytes={start}-{upload.size - 1}")
    except ClientError as error:
        raise _refusal(error) from None
    end: bytes = found["Body"].read()
    return end


def _open(client: S3Client, upload: Upload) -> tuple[Upload, Any]:
    """If the raw key has no object and decoding changes it, the decoded key is tried once.

    AWS does not document explicitly that keys in EventBridge events are raw.
    """
    for key in dict.fromkeys([upload.key, unquote_plus(upload.key)]):
        try:
            found = _get(client, msgspec.structs.replace(upload, key=key), f"bytes=0-{_HEAD_BYTES - 1}")
        except ClientError as error:
            if error_code(error) not in GONE:
                raise _refusal(error) from None
        else:
            return msgspec.structs.replace(upload, key=key, size=_total_bytes(found)), found
    raise Rejected("upload_gone")


def _get(client: S3Client, upload: Upload, range_: str) -> Any:
    return client.get_object(Bucket=upload.bucket, Key=upload.key, VersionId=upload.version_id, Range=range_)


def _refusal(error: ClientError) -> Exception:
    """Why S3 does not return an object, or the error itself if it says nothing about the object.

    Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and for SSE-C
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    code = error_code(error)
    if code in (*GONE, "NoSuchBucket"):
        return Rejected("upload_gone")
    if code == "InvalidObjectState":
        return Rejected("archived")
    if code == "InvalidRange":
        return Rejected("not_an_image", detail="The file is empty.")
    if code in _GET_DENIED:
        return Rejected("access_denied")
    if code == "InvalidRequest":
        return Rejected("unreadable", detail="It is encrypted with a key that each request must contain (SSE-C).")
    if code.startswith("KMS.") and not any(word in code for word in _KMS_TEMPORARY):
        return Rejected("unreadable", detail=f"Its KMS key can't be used ({code}).")
    return error


def _total_bytes(found: Any) -> int:
    """The size of an object of which a range was read."""
    _, _, total = found.get("ContentRange", "").rpartition("/")
    return int(total) if total.isdecimal() else int(found["ContentLength"])


def presign(client: S3Client, source: Source) -> str:
    """A URL that gives anyone read access to this version of the upload for an hour. It must not leave the function.

    It sets the content type of the detected format, because many uploads are stored as binary/octet-stream. It replaces
    the stored headers: a wrong Content-Encoding would make HTTP clients fail. S3 accepts no empty value, so each gets
    one without an effect. Dots of `.` and `..` segments are encoded, because HTTP clients would remove these segments.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    url = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": source.upload.bucket,
            "Key": source.upload.key,
            "VersionId": source.upload.version_id,
            "ResponseContentType": source.format.content_type,
            "ResponseContentEncoding": "identity",
            "ResponseContentDisposition": "inline",
            "ResponseContentLanguage": "zxx",  # no linguistic content
            "ResponseCacheControl": "no-store",
        },
        ExpiresIn=URL_SECONDS,
    )
    path, _, query = url.partition("?")
    segments = [part.replace(".", "%2E") if part in (".", "..") else part for part in path.split("/")]
    return f"{'/'.join(segments)}?{query}"


def output_key(key: str, format_: Format) -> str:
    """The upload's key if its extension fits the format, otherwise the key plus the right extension."""
    return key if key.lower().endswith(format_.extensions) else fit_key(key, format_.extensions[0])


def fit_key(key: str, suffix: str) -> str:
    """`key` with `suffix`. A key that would exceed S3's 1,024 bytes is shortened and gets a hash."""
    if len(f"{key}{suffix}".encode()) <= _MOST_KEY_BYTES:
        return f"{key}{suffix}"
    return disambiguate(key, key, suffix)


def disambiguate(key: str, by: str, suffix: str) -> str:
    """`key` with a hash of `by` and `suffix`, within 1,024 bytes."""
    suffix = f"~{hashlib.sha256(by.encode()).hexdigest()[:12]}{suffix}"
    return key.encode()[: _MOST_KEY_BYTES - len(suffix)].decode(errors="ignore") + suffix


def _output_keys(upload: Upload, format_: Format) -> list[str]:
    """The keys that the enhanced photo of an upload may get, in order of preference."""
    key, extension = output_key(upload.key, format_), format_.extensions[0]
    others = (upload.key, f"{upload.bucket}/{upload.key}", upload.correlation_id)
    return [key, *(disambiguate(key, by, extension) for by in others)]


def identify(client: S3Client, upload: Upload) -> str | None:
    """The bytes of an upload: size and SHA-256, or None if it was deleted. `lumendrop enhance` has the same rule.

    If S3 has no SHA-256 of the whole object, because the uploader sent none, the object is read. The other checksums
    depend on the tool that uploaded it, and are not cryptographic.
    """
    version: Any = {"Bucket": upload.bucket, "Key": upload.key, "VersionId": upload.version_id}
    try:
        found = client.head_object(**version, ChecksumMode="ENABLED")
        sha256 = found.get("ChecksumSHA256", "")
        if not sha256 or "-" in sha256:  # none, or that of the checksums of its parts
            sha256 = checksums.sha256(client.get_object(**version)["Body"])
    except ClientError as error:
        if error_code(error) in GONE:
            return None
        raise
    return f"{found['ContentLength']} {sha256}"


def find_reusable(client: S3Client, output: Mapping[str, Any], correlation_id: str) -> Reusable | None:
    """The enhanced photo that the task of an upload produced, if it still exists where it was delivered.

    A newer upload of the same photo may have replaced it by a copy, which `same-as` shows. A bucket that can't be read
    was the output bucket of this stack earlier.
    """
    bucket, key = output["bucket"], output["key"]
    found = _head(client, bucket, key, (*GONE, *_HEAD_REFUSED))
    if found is None or found.get("StorageClass") in _ARCHIVED:
        return None
    format_ = next((one for one in images.FORMATS if one.content_type == found["ContentType"]), None)
    if format_ is None or correlation_id not in map(found["Metadata"].get, ("correlation-id", "same-as")):
        return None
    return Reusable(bucket, key, found["ETag"], found["ContentLength"], format_, found["Metadata"])


def write(client: S3Client, bucket: str, upload: Upload, result: Result) -> DeliveredObject | None:
    """Writes an enhanced photo and returns it, or None if the result of a newer upload already exists."""
    own = _sizes(upload, result) | dict(result.provenance)
    if result.sidecar:
        own["sidecar"] = "xmp"
    attempt = int(result.provenance.get("attempt", 1))

    def put(key: str, condition: Mapping[str, Any], carried: _Carried) -> str:
        with result.content.open() as file:
            answer = client.put_object(
                Bucket=bucket,
                Key=key,
                Body=file,
                ContentLength=result.content.size,
                ContentType=result.image.format.content_type,
                ChecksumSHA256=result.sha256,
                Metadata=carried.metadata,
                **carried.arguments,
                **condition,
            )
        return answer.get("VersionId", "")

    carried = _carry(upload, own, result.properties, result)
    new = DeliveredObject(bucket, "", "", result.content.size, result.image.format.name)
    delivered = _write(client, new, upload, result.image.format, attempt, carried, put)
    if delivered is None or result.sidecar is None:
        return delivered
    return _with_sidecar(client, upload, delivered, partial(_put_sidecar, client, bucket, carried, result.sidecar))


def reuse(
    client: S3Client, upload: Upload, photo: Reusable, same_as: str, attempt: int, properties: ObjectProperties
) -> DeliveredObject | None:
    """Copies the enhanced photo of another upload, with properties of its own. Returns the same as `write`."""
    own = {"correlation-id": upload.correlation_id, "same-as": same_as, "attempt": str(attempt)}
    own["result-bytes"] = str(photo.bytes)
    kept = {name: photo.metadata[name] for name in photo.metadata if name in _OWN_NAMES - own.keys() - {*_SOURCE_NAMES}}

    def copy(of: str, key: str, condition: Mapping[str, Any], carried: _Carried, **more: Any) -> str:
        answer = client.copy_object(
            Bucket=photo.bucket,
            Key=key,
            CopySource={"Bucket": photo.bucket, "Key": of},
            MetadataDirective="REPLACE",
            TaggingDirective="REPLACE",  # the tags of the photo may not be readable, and are another upload's
            Metadata=carried.metadata,
            **carried.arguments,
            **condition,
            **more,
        )
        return answer.get("VersionId", "")

    def put(key: str, condition: Mapping[str, Any], carried: _Carried) -> str:
        more = {"CopySourceIfMatch": photo.etag, "ContentType": photo.format.content_type}
        return copy(photo.key, key, condition, carried, **more)

    carried = _carry(upload, own | kept, properties)
    new = DeliveredObject(photo.bucket, "", "", photo.bytes, photo.format.name)
    delivered = _write(client, new, upload, photo.format, attempt, carried, put)
    if delivered is None or "sidecar" not in photo.metadata:
        return delivered
    if delivered.key == photo.key:
        return msgspec.structs.replace(delivered, sidecar=sidecar_key(photo.key))
    return _with_sidecar(client, upload, delivered, partial(copy, sidecar_key(photo.key), carried=carried))


class _Carried(msgspec.Struct):
    """The metadata and the other arguments of a write, and what was left out.

    `own` and `theirs` are the metadata to write after the `source`, in this order, as far as S3 has room. `missing` is
    what was left out for other reasons.
    """

    source: dict[str, str]
    own: dict[str, str]
    theirs: dict[str, str]
    arguments: dict[str, Any]
    missing: list[str]
    metadata: dict[str, str] = {}
    left_out: list[str] = []

    def complete(self) -> None:
        """Sets `metadata` and `left_out`. What has no room is named in the metadata too, for which room is reserved."""
        wanted = self.own | self.theirs
        room = _MOST_METADATA_BYTES - _size(_fill(self.source, self.own)) - len("left-out")
        absent: set[str] = set()
        while True:
            reasons = [*self.missing, *(_no_room(absent) if absent else ())]
            self.left_out = _bounded(reasons, _MOST_LEFT_OUT)
            stated = "; ".join(_bounded(reasons, min(room, _MOST_LEFT_OUT)))
            source = self.source | ({"left-out": stated} if stated else {})
            self.metadata = _fill(source, {name: wanted[name] for name in wanted if name not in absent})
            if wanted.keys() <= self.metadata.keys() | absent:
                return
            absent |= wanted.keys() - self.metadata.keys()

    def leave_out(self, one: LeftOut) -> None:
        self.missing.append(_as_text(one))
        self.complete()


def _carry(
    upload: Upload, own: Mapping[str, str], properties: ObjectProperties, result: Result | None = None
) -> _Carried:
    """Ours takes precedence over what the upload's object has. What S3 has no room for is left out.

    Names of ours are never taken from an upload, which could otherwise pretend to be a result.
    """
    missing = [*(result.left_out if result else ()), *properties.left_out]
    described = {
        "carried-over": ",".join(result.carried if result else ()),
        "warnings": ",".join(result.warnings if result else ()),
    }
    stated = {**own, **{name: value for name, value in described.items() if value}}
    earlier = _parts(stated.pop("left-out", None), "; ")
    profiles = {name: stated.pop(name) for name in _LONG_NAMES & stated.keys()}
    theirs = {name: value for name, value in properties.metadata.items() if name not in _OWN_NAMES}
    arguments: dict[str, Any] = dict(properties.headers)
    if properties.tags:
        arguments["Tagging"] = urlencode(properties.tags)
    texts = list(dict.fromkeys([*earlier, *map(_as_text, missing)]))
    carried = _Carried(_source_metadata(upload), stated, profiles | theirs, arguments, texts)
    carried.complete()
    return carried


def _as_text(one: LeftOut) -> str:
    """A reason as printable ASCII of bounded length, for metadata and events."""
    return _NOT_PRINTABLE.sub("?", f"{one.what}: {one.why}"[:_MOST_TEXT]).replace("; ", ", ")


def _no_room(names: set[str]) -> list[str]:
    return [_as_text(LeftOut("user metadata", f"S3 has no room for {', '.join(sorted(names))}"))]


def _bounded(reasons: list[str], most: int) -> list[str]:
    """The first reasons, which have at most so many characters with a separator of two, and how many more there are."""
    kept: list[str] = []
    for one in reasons:
        rest = len(reasons) - len(kept)
        following = [f"{rest - 1} more"] if rest > 1 else []
        if len("; ".join([*kept, one, *following])) > most:
            shortened = [*kept, f"{rest} more"]
            return shortened if len("; ".join(shortened)) <= most else kept
        kept.append(one)
    return kept


def _write(
    client: S3Client,
    new: DeliveredObject,
    upload: Upload,
    format_: Format,
    attempt: int,
    carried: _Carried,
    put: Callable[[str, Mapping[str, Any], _Carried], str],
) -> DeliveredObject | None:
    """Writes with `put`, which takes the key, the condition, and what is carried over, and returns the version ID.

    Its metadata names the source and the provenance, as far as S3 has room. Each write is conditional on the object
    that was read before, so the newest upload wins a race. An object that is not a result of this upload's bucket and
    key is never replaced; this photo gets another key then. Raises LostRace.
    """
    bucket, keys = new.bucket, iter(_output_keys(upload, format_))
    key, existing = next(keys), None  # free for nearly every upload; otherwise S3 refuses before it receives the body
    for _ in range(_WRITE_TRIES):
        condition = {"IfMatch": existing["ETag"]} if existing else {"IfNoneMatch": "*"}
        try:
            version_id = put(key, condition, carried)
        except ClientError as error:
            if _drop_tags(carried, error):
                continue
            if not lost_race(error):
                raise
        else:
            found = msgspec.structs.replace(new, key=key, version_id=version_id)
            return _described(found, carried.metadata, carried.left_out)
        existing = _head_output(client, bucket, key)
        if existing and not _is_result_of(existing["Metadata"], upload):
            key, existing = next(keys, key), None
        elif existing and existing["Metadata"]["source-version-id"] == upload.version_id:
            if _attempt(existing["Metadata"], attempt) >= attempt:
                return _delivered(bucket, key, existing, format_)
        elif existing and is_of_newer_upload(client, *_version(existing["Metadata"]), upload):
            return None
    raise LostRace(f"other functions wrote the output key {_WRITE_TRIES} times in a row")


def _drop_tags(carried: _Carried, error: ClientError) -> bool:
    """Whether another try without tags may succeed: tags that may not be written must not cost the photo."""
    code = error_code(error)
    if code not in _TAGS_REFUSED or not carried.arguments.pop("Tagging", None):
        return False
    carried.leave_out(LeftOut("tags", f"S3 answered {code}"))
    return True


def sidecar_key(key: str) -> str:
    """The key of the XMP file next to a photo, as photo libraries name it."""
    return fit_key(key, ".xmp")


def _put_sidecar(
    client: S3Client, bucket: str, carried: _Carried, body: bytes, key: str, condition: Mapping[str, Any]
) -> None:
    client.put_object(
        Bucket=bucket, Key=key, Body=body, ContentType="application/rdf+xml", Metadata=carried.metadata, **condition
    )


def _with_sidecar(
    client: S3Client, upload: Upload, photo: DeliveredObject, put: Callable[[str, Mapping[str, Any]], Any]
) -> DeliveredObject:
    """The photo with its sidecar, which `put` writes. It replaces only one of this key that is not newer."""
    key = sidecar_key(photo.key)
    condition: Mapping[str, Any] = {"IfNoneMatch": "*"}
    try:
        for _ in range(_WRITE_TRIES):
            try:
                put(key, condition)
            except ClientError as error:
                if not lost_race(error):
                    raise
            else:
                return msgspec.structs.replace(photo, sidecar=key)
            existing = _head_output(client, photo.bucket, key)
            if existing and not _is_result_of(existing["Metadata"], upload):
                break
            if existing and is_of_newer_upload(client, *_version(existing["Metadata"]), upload):
                break
            condition = {"IfMatch": existing["ETag"]} if existing else {"IfNoneMatch": "*"}
        why = "an object that is another photo's has its key"
    except (BotoCoreError, ClientError) as error:
        why = f"it could not be written ({type(error).__name__})"
    return msgspec.structs.replace(photo, left_out=[*photo.left_out, _as_text(LeftOut("sidecar", why))])


def lost_race(error: ClientError) -> bool:
    """Whether the object was written or deleted since it was read."""
    return error_code(error) in _LOST_RACE


def _is_result_of(metadata: Mapping[str, str], upload: Upload) -> bool:
    """Whether an object with this metadata is a result of any version of this upload's bucket and key.

    Results of earlier releases have no `source-bucket`. Their correlation ID proves the bucket.
    """
    version_id = metadata.get("source-version-id")
    if not version_id or _source_key(metadata) != upload.key:
        return False
    if "source-bucket" in metadata:
        return metadata["source-bucket"] == upload.bucket
    if "correlation-id" in metadata:
        return metadata["correlation-id"] == msgspec.structs.replace(upload, version_id=version_id).correlation_id
    return version_id == upload.version_id


def _version(metadata: Mapping[str, str]) -> tuple[str, str]:
    """The version ID and the sequencer of the upload that an enhanced photo comes from."""
    return metadata["source-version-id"], metadata.get("sequencer", "")


def _attempt(metadata: Mapping[str, str], default: int) -> int:
    text = metadata.get("attempt", "")
    return int(text) if text.isdecimal() else default


def is_of_newer_upload(client: S3Client, version_id: str, sequencer: str, upload: Upload) -> bool:
    """Whether a version of the same bucket and key is newer than `upload`.

    Sequencers decide if both uploads have one. An upload that the backfill found has none; then the order of the
    versions decides, which S3 lists from the newest to the oldest.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/list-obj-version-enabled-bucket.html
    """
    if sequencer and upload.sequencer:
        return is_newer(sequencer, upload.sequencer)
    for one in _version_ids(client, upload):
        if one in (upload.version_id, version_id):
            return one != upload.version_id
    return False


def _version_ids(client: S3Client, upload: Upload) -> Iterator[str]:
    """The IDs of all versions of an upload's key that still exist, newest first."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=upload.bucket, Prefix=upload.key)
    for version in (one for page in pages for one in page.get("Versions", [])):
        if version["Key"] != upload.key:  # longer keys follow
            return
        yield version["VersionId"]


def find_delivered(client: S3Client, bucket: str, upload: Upload, attempt: int) -> DeliveredObject | None:
    """The enhanced photo of this attempt, under any of its output keys, if an earlier run has written it."""
    for format_, key, existing in _results_of(client, bucket, upload):
        metadata = existing["Metadata"]
        if metadata["source-version-id"] == upload.version_id and _attempt(metadata, attempt) >= attempt:
            return _delivered(bucket, key, existing, format_)
    return None


def has_photo_since(client: S3Client, bucket: str, upload: Upload) -> bool:
    """Whether the output bucket has an enhanced photo of this upload, or of a newer one of the same bucket and key."""
    return any(
        existing["Metadata"]["source-version-id"] == upload.version_id
        or is_of_newer_upload(client, *_version(existing["Metadata"]), upload)
        for _, _, existing in _results_of(client, bucket, upload)
    )


def _results_of(client: S3Client, bucket: str, upload: Upload) -> Iterator[tuple[Format, str, Any]]:
    """The enhanced photos of all versions of this upload's bucket and key."""
    for format_ in images.FORMATS:
        for key in _output_keys(upload, format_):
            existing = _head_output(client, bucket, key)
            if existing and _is_result_of(existing["Metadata"], upload):
                yield format_, key, existing


def _delivered(bucket: str, key: str, existing: Any, format_: Format) -> DeliveredObject:
    size, version_id = existing["ContentLength"], existing.get("VersionId", "")
    found = DeliveredObject(bucket, key, version_id, size, format_.name)
    sidecar = sidecar_key(key) if "sidecar" in existing["Metadata"] else None
    return _described(
        msgspec.structs.replace(found, sidecar=sidecar),
        existing["Metadata"],
        _parts(existing["Metadata"].get("left-out"), "; "),
    )


def _described(photo: DeliveredObject, metadata: Mapping[str, str], left_out: list[str]) -> DeliveredObject:
    """The photo with what its metadata says about it, and what was left out."""
    pixels = metadata.get("result-pixels")
    return msgspec.structs.replace(
        photo,
        pixels=pixels,
        smaller=dimensions.is_smaller(metadata.get("source-pixels"), pixels),
        warnings=_parts(metadata.get("warnings"), ","),
        carried_over=_parts(metadata.get("carried-over"), ","),
        left_out=left_out,
    )


def _parts(text: str | None, separator: str) -> list[str]:
    return text.split(separator) if text else []


def _head_output(client: S3Client, bucket: str, key: str) -> Any:
    """The object at an output key, or None. One that S3 does not describe without a key of its owner is not ours."""
    try:
        return _head(client, bucket, key)
    except ClientError as error:
        if error_code(error) == "400":
            return {"Metadata": {}}
        raise


def _head(client: S3Client, bucket: str, key: str, gone: tuple[str, ...] = GONE) -> Any:
    try:
        return client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in gone:
            return None
        raise


def _sizes(upload: Upload, result: Result) -> dict[str, str]:
    """What upload and result state about themselves. A result is always one picture."""
    stated = {"source-pixels": upload.pixels, "result-pixels": result.image.pixels}
    stated["result-bytes"] = str(result.content.size)
    if upload.pictures != "one":
        stated["source-pictures"] = upload.pictures
    return {name: value for name, value in stated.items() if value}


def _size(metadata: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in metadata.items())


def _fill(metadata: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The metadata with more of it, as far as S3 has room. The delivery of a paid photo must not fail for the rest."""
    filled = dict(metadata)
    room = _MOST_METADATA_BYTES - _size(filled)
    for name, value in more.items():
        if name not in filled and len(name) + len(value) <= room:
            filled[name] = value
            room -= len(name) + len(value)
    return filled


def _source_metadata(upload: Upload) -> dict[str, str]:
    """Metadata is ASCII and limited in size, so a key is percent-encoded, or in base64 if that is too long."""
    encoded = quote(upload.key)
    if len(encoded) <= _MOST_SOURCE_KEY_BYTES:
        named = {"source-key": encoded}
    else:
        named = {"source-key-base64": base64.b64encode(upload.key.encode()).decode()}
    version = {"source-version-id": upload.version_id, "sequencer": upload.sequencer}
    return {"source-bucket": upload.bucket} | named | version


def _source_key(metadata: Mapping[str, str]) -> str | None:
    if "source-key-base64" in metadata:
        try:
            return base64.b64decode(metadata["source-key-base64"]).decode(errors="replace")
        except ValueError:  # an object that is not a result of ours
            return None
    return unquote(metadata["source-key"]) if "source-key" in metadata else None
