"""Uploads of photos and downloads of results. Both are whole or not there at all, and both can be repeated."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import IO, Any, BinaryIO
from urllib.parse import unquote

import typer
from botocore.exceptions import ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError

from lumendrop_cli import photo_files, photo_options
from lumendrop_cli.errors import CliError, error_code
from lumendrop_cli.ledger import Row
from lumendrop_cli.photo_files import LocalFile
from lumendrop_cli.result_folder import PathChanged, ResultFolder, Signature, atomic_file, signature
from lumendrop_cli.stack import Stack
from lumendrop_cli.versions import versions_and_markers
from lumendrop_cli.workflow import correlation_id

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "405"})
_CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_TRIES = 5
_CHUNK = 1 << 20
_EXTENSIONS = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/webp": (".webp",),
    "image/heic": (".heic", ".heif", ".hif"),
}

Sent = Callable[[int], None]


class Stopped(Exception):
    """The command is ending, so a transfer was given up."""


class FileChanged(CliError):
    """A file changed while it was uploaded."""


@dataclass(frozen=True)
class Source:
    """A photo to upload: its bytes, its key, and the options in its metadata."""

    file: LocalFile
    key: str
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    options: str


@dataclass(frozen=True)
class Result:
    """An enhanced photo in the output bucket, and the key of the upload that it is the result of.

    `payer` is the ID of the upload whose task enhanced it.
    """

    bucket: str
    key: str
    version_id: str | None
    size: int
    content_type: str
    payer: str
    source_key: str

    @property
    def place(self) -> dict[str, str]:
        """The arguments of a read."""
        version = {"VersionId": self.version_id} if self.version_id else {}
        return {"Bucket": self.bucket, "Key": self.key, **version}


class ResultGone(CliError):
    """A result was deleted, or replaced by that of another photo."""


def upload(stack: Stack, source: Source, etag: str | None, sent: Sent, stop: Event) -> tuple[str, bool]:
    """Uploads a photo unless its key already has it with these options. Returns the version, and whether it is new.

    `etag` is that of the object that the photo replaces. The write has it as a condition, so that of several runs only
    one uploads the photo.
    """
    for _ in range(_TRIES):
        try:
            return _put(stack, source, etag, sent, stop), True
        except ClientError as error:
            if error_code(error) == "BadDigest":
                raise FileChanged(f"{source.file.name} changed while it was uploaded. Run the command again.") from None
            if error_code(error) not in _CONFLICTS:
                raise
        version_id, etag = find_uploaded(stack, source)
        if version_id is not None:
            return version_id, False
    raise CliError(f"The key {source.key} is changed all the time by others. Run the command again.")


def _put(stack: Stack, source: Source, etag: str | None, sent: Sent, stop: Event) -> str:
    bucket = stack.output("InputBucketName")
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    with source.file.path.open("rb") as opened:
        if _signature(opened) != source.file.signature:
            raise FileChanged(f"{source.file.name} changed since it was read. Run the command again.")
        answer = stack.client("s3").put_object(
            Bucket=bucket,
            Key=source.key,
            Body=Body(opened, sent, stop),
            ContentType=source.content_type,
            Metadata=dict(source.metadata),
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=source.sha256,
            **condition,
        )
        changed = _signature(opened) != source.file.signature
    version_id: str | None = answer.get("VersionId")
    if version_id is None:
        raise CliError(f"The bucket {bucket} has no versioning, so uploads are rejected. Run `lumendrop doctor`.")
    if changed:
        raise FileChanged(f"{source.file.name} changed while it was uploaded. Run the command again.")
    return version_id


def _signature(opened: BinaryIO) -> tuple[int, int]:
    status = os.fstat(opened.fileno())
    return status.st_size, status.st_mtime_ns


class Body:
    """A file that reports how much of it was read, and that ends when the command does.

    The SDK reads it, and seeks if it has to send it again.
    """

    def __init__(self, opened: IO[bytes], sent: Sent, stop: Event) -> None:
        self._opened, self._sent, self._stop = opened, sent, stop

    def read(self, size: int = -1) -> bytes:
        if self._stop.is_set():
            raise Stopped
        data = self._opened.read(size)
        self._sent(self._opened.tell())
        return data

    def seek(self, *place: int) -> int:
        return self._opened.seek(*place)

    def tell(self) -> int:
        return self._opened.tell()


def find_uploaded(stack: Stack, source: Source) -> tuple[str | None, str | None]:
    """The current version of the photo's key, if it has the photo's bytes and options; and the ETag of any object."""
    s3, place = stack.client("s3"), {"Bucket": stack.output("InputBucketName"), "Key": source.key}
    try:
        head = s3.head_object(**place, ChecksumMode="ENABLED")
    except ClientError as error:
        if error_code(error) in _MISSING:
            return None, None
        raise
    may_be_same = head["ContentLength"] == source.file.size and _has_options(stack, head, source)
    is_same = may_be_same and _has_bytes(s3, place, head, source)
    return head.get("VersionId", "null") if is_same else None, head["ETag"]


def _has_options(stack: Stack, head: Mapping[str, Any], source: Source) -> bool:
    try:
        return photo_options.as_text(stack, head["Metadata"]) == source.options
    except typer.BadParameter:  # submit rejected it
        return False


def _has_bytes(s3: Any, place: Mapping[str, str], head: Mapping[str, Any], source: Source) -> bool:
    """Whether an object has a photo's bytes. Without a checksum that can be compared, the object is read."""
    if _whole_sha256(head):
        return bool(head["ChecksumSHA256"] == source.sha256)
    etag = head["ETag"].strip('"')
    if "-" not in etag and not head.get("ServerSideEncryption", "").startswith("aws:kms"):
        return bool(etag == photo_files.md5(source.file.path))
    version = {"VersionId": head["VersionId"]} if "VersionId" in head else {}
    body = s3.get_object(**place, **version)["Body"]
    return bool(photo_files.sha256_of(body.iter_chunks(_CHUNK)) == source.sha256)


def _whole_sha256(head: Mapping[str, Any]) -> str | None:
    """The SHA-256 of the whole object. That of an upload in parts ends in the number of parts."""
    checksum: str | None = head.get("ChecksumSHA256")
    return None if checksum and "-" in checksum else checksum


def result_of(row: Row) -> Result | None:
    """The enhanced photo of a row. Reads nothing; `download` checks that it still exists."""
    output = row.get("output")
    if not output:
        return None
    key, version_id = str(output["key"]), output.get("version_id")
    return Result(
        output["bucket"],
        key,
        version_id if version_id and version_id != "null" else None,
        int(output["bytes"]),
        content_type(key),
        row.get("same_as") or correlation_id(row),
        row["key"],
    )


def exists(stack: Stack, result: Result) -> bool:
    """Whether a result is still there."""
    try:
        _check_payer(result, stack.client("s3").head_object(**result.place))
    except ClientError as error:
        if error_code(error) not in _MISSING:
            raise
        return False
    except ResultGone:
        return False
    return True


def content_type(key: str) -> str:
    """By the extension; empty if that is not one of a photo. The stack gives each result one that fits its format."""
    found = (name for name, extensions in _EXTENSIONS.items() if key.lower().endswith(extensions))
    return next(found, "")


def _check_payer(result: Result, found: Mapping[str, Any]) -> None:
    if result.payer not in map(found["Metadata"].get, ("correlation-id", "same-as")):
        raise ResultGone(f"The result s3://{result.bucket}/{result.key} was replaced by that of another photo.")


def usual_names(name: str) -> set[str]:
    """The names that a photo's result usually has: that of the photo, or that of a JPEG."""
    return {name, _result_name(name, "image/jpeg")}


def _result_name(name: str, content_type: str) -> str:
    """The name of a photo's result: its own, with another extension if the result's format needs one."""
    extensions = _EXTENSIONS.get(content_type, ())
    return name if not extensions or name.lower().endswith(extensions) else name + extensions[0]


def find_name(stack: Stack, source: Source, result: Result, folder: ResultFolder) -> tuple[str, bool]:
    """The name of a photo's result in the folder for results, and whether the result is there already.

    A file that is neither the result nor an earlier one of the photo is somebody else's, and the result gets another
    name. What is replaced is still in the output bucket.
    """
    return _find_name(stack, _result_name(source.file.name, result.content_type), source, result, folder)[:2]


def _find_name(
    stack: Stack, wanted: str, source: Source, result: Result, folder: ResultFolder
) -> tuple[str, bool, Signature | None]:
    """Also returns the signature of the file that may be replaced."""
    for name in folder.names(wanted, source.file.name):
        path = folder.root / name
        found = signature(path)
        if _is_downloaded(stack, path, result):
            return name, True, found
        if found is None or _is_earlier(stack, path, source, result):
            return name, False, found
    raise AssertionError("unreachable")


def _is_earlier(stack: Stack, path: Path, source: Source, result: Result) -> bool:
    """Whether a file has the bytes of another version of the photo's result."""
    try:
        size = path.stat().st_size
    except OSError:
        return False
    own = replace(result, key=_result_name(source.key, result.content_type), source_key=source.key)
    for one in {result, own}:
        for page in versions_and_markers(stack.client("s3"), one.bucket, one.key):
            versions = [version for version in page if version["Key"] == one.key]
            if not versions:
                break  # keys are in order, and the key itself is the first with this prefix
            same_size = [version["VersionId"] for version in versions if version.get("Size") == size]
            earlier = (replace(one, version_id=version_id, size=size) for version_id in same_size)
            if any(_is_downloaded(stack, path, version, only_results=True) for version in earlier):
                return True
    return False


def _is_downloaded(stack: Stack, path: Path, result: Result, *, only_results: bool = False) -> bool:
    """Whether a file has a result's bytes. Only a file of the same size is read."""
    try:
        if not path.is_file() or path.stat().st_size != result.size:
            return False
        head = stack.client("s3").head_object(**result.place, ChecksumMode="ENABLED")
        if only_results and not _is_result(stack, head, result):
            return False
        if _whole_sha256(head):
            return bool(photo_files.sha256(path) == head["ChecksumSHA256"])
        etag = head["ETag"].strip('"')
        return "-" not in etag and photo_files.md5(path) == etag
    except OSError:
        return False
    except ClientError as error:
        if error_code(error) not in _MISSING:
            raise
        return False


def _is_result(stack: Stack, head: Mapping[str, Any], result: Result) -> bool:
    """Whether an object is unchanged since it was delivered as a result of this key.

    layers/lumendrop/storage.py has the same rule. A sidecar has its photo's metadata, so also its photo's size.
    Results of earlier releases have neither `source-bucket` nor `result-bytes`.
    """
    metadata, size = head["Metadata"], str(head["ContentLength"])
    return (
        bool(metadata.get("source-version-id"))
        and _source_key(metadata) == result.source_key
        and metadata.get("source-bucket", stack.output("InputBucketName")) == stack.output("InputBucketName")
        and (not result.content_type or metadata.get("result-bytes", size) == size)
    )


def _source_key(metadata: Mapping[str, str]) -> str | None:
    if "source-key-base64" in metadata:
        try:
            return base64.b64decode(metadata["source-key-base64"]).decode(errors="replace")
        except ValueError:  # an object that is not a result
            return None
    return unquote(metadata["source-key"]) if "source-key" in metadata else None


def download(stack: Stack, source: Source, result: Result, folder: ResultFolder, stop: Event) -> tuple[Path, bool]:
    """Downloads a result, with the modification time of the photo. Returns its path, and whether that is new.

    Raises ResultGone, OSError.
    """
    name, metadata = _download(stack, _result_name(source.file.name, result.content_type), source, result, folder, stop)
    if metadata and "sidecar" in metadata:
        with suppress(ResultGone):  # somebody deleted it
            _download(stack, f"{name}.xmp", source, _sidecar(stack, result), folder, stop)
    return folder.root / name, metadata is not None


def _sidecar(stack: Stack, result: Result) -> Result:
    """The XMP file next to a result. Raises ResultGone."""
    key = f"{result.key}.xmp"
    with _gone(result.bucket, key):
        head = stack.client("s3").head_object(Bucket=result.bucket, Key=key)
    return replace(result, key=key, version_id=head.get("VersionId"), size=head["ContentLength"], content_type="")


@contextmanager
def _gone(bucket: str, key: str) -> Iterator[None]:
    """Turns S3's error for an object that does not exist into ResultGone."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _MISSING:
            raise
        raise ResultGone(f"The result s3://{bucket}/{key} was deleted.") from None


def _download(
    stack: Stack, wanted: str, source: Source, result: Result, folder: ResultFolder, stop: Event
) -> tuple[str, Mapping[str, str] | None]:
    """Downloads an object. Returns its name in the folder, and its metadata, or None if it was there already."""
    for _ in range(_TRIES):
        name, is_there, replaced = _find_name(stack, wanted, source, result, folder)
        if is_there:
            return name, None
        path = folder.place(name)
        with _gone(result.bucket, result.key), suppress(PathChanged):
            return name, _get(stack, result, path, source.file.mtime_ns, replaced, stop)
    raise CliError(f"Other programs change the results of {source.file.name} all the time. Run the command again.")


def _get(
    stack: Stack, result: Result, path: Path, mtime_ns: int, replaced: Signature | None, stop: Event
) -> Mapping[str, str]:
    """Downloads an object, and returns its metadata. The SDK compares the bytes with S3's checksum."""
    for remaining in reversed(range(_TRIES)):
        try:
            answer = stack.client("s3").get_object(**result.place)
            _check_payer(result, answer)
            with atomic_file(path, mtime_ns, replaced) as opened:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    if stop.is_set():
                        raise Stopped
                    opened.write(chunk)
                if opened.tell() != answer["ContentLength"]:
                    raise IncompleteReadError(actual_bytes=opened.tell(), expected_bytes=answer["ContentLength"])
            metadata: Mapping[str, str] = answer["Metadata"]
            return metadata
        except (HTTPClientError, IncompleteReadError, FlexibleChecksumError):
            if not remaining:
                raise
    raise AssertionError("unreachable")
