"""What an S3 object has besides its bytes, and passes on to its enhanced photo: user metadata, headers, and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop.aws_errors import GONE, error_code
from lumendrop.metadata.blocks import LeftOut
from lumendrop.metadata.places import may_state_place
from lumendrop.options import Metadata
from lumendrop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HEADERS = ("CacheControl", "ContentDisposition", "ContentLanguage")
_ASCII = re.compile(r"[\x20-\x7e]*")
_RESERVED_TAGS = "aws:"  # AWS's own tags can't be set


class ObjectProperties(msgspec.Struct, frozen=True):
    """The properties of an upload. `headers` are arguments of PutObject."""

    metadata: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}
    tag_count: int = 0
    left_out: tuple[LeftOut, ...] = ()


def from_response(found: Any) -> ObjectProperties:
    """The properties that GetObject returns, which are all but the tags. Only ASCII can be written again."""
    metadata = {name: value for name, value in found["Metadata"].items() if _ASCII.fullmatch(name + value)}
    headers = {name: found[name] for name in _HEADERS if _ASCII.fullmatch(found.get(name, "\n"))}
    others = [*(found["Metadata"].keys() - metadata.keys()), *(set(_HEADERS) & found.keys() - headers.keys())]
    left_out = tuple(LeftOut(name, "it is not ASCII") for name in sorted(others))
    return ObjectProperties(metadata, headers, tag_count=found.get("TagCount", 0), left_out=left_out)


def select(client: S3Client, upload: Upload, found: ObjectProperties, choice: Metadata) -> ObjectProperties:
    """The properties that the enhanced photo gets, with the tags, which are read here."""
    if choice == "none":
        return ObjectProperties()
    complete = _with_tags(client, upload, found)
    return _without_places(complete) if choice == "no-location" else complete


def _without_places(found: ObjectProperties) -> ObjectProperties:
    left_out = list(found.left_out)
    kept: dict[str, dict[str, str]] = {}
    for kind, named in (("user metadata", found.metadata), ("tags", found.tags)):
        kept[kind] = {name: value for name, value in named.items() if not may_state_place(name, value)}
        if dropped := ", ".join(sorted(named.keys() - kept[kind].keys())):
            left_out.append(LeftOut(kind, f"no-location leaves out {dropped}"))
    return msgspec.structs.replace(found, metadata=kept["user metadata"], tags=kept["tags"], left_out=tuple(left_out))


def _with_tags(client: S3Client, upload: Upload, found: ObjectProperties) -> ObjectProperties:
    """Tags that can't be read are left out."""
    if not found.tag_count:
        return found
    try:
        answer = client.get_object_tagging(Bucket=upload.bucket, Key=upload.key, VersionId=upload.version_id)
    except (BotoCoreError, ClientError) as error:
        return msgspec.structs.replace(found, left_out=(*found.left_out, LeftOut("tags", describe(error))))
    tags = {one["Key"]: one["Value"] for one in answer["TagSet"] if not one["Key"].startswith(_RESERVED_TAGS)}
    return msgspec.structs.replace(found, tags=tags)


def describe(error: BotoCoreError | ClientError) -> str:
    """Why an object could not be read."""
    if isinstance(error, BotoCoreError):
        return f"S3 did not answer ({type(error).__name__})"
    code = error_code(error)
    return "the upload was deleted" if code in GONE else f"S3 answered {code}"
