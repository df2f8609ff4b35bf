"""The versions of the objects in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from lumendrop_cli.errors import CliError, error_code


def versions_and_markers(s3: Any, bucket: str, prefix: str = "") -> Iterator[list[dict[str, Any]]]:
    """Every object version and delete marker below a prefix, in pages. None if the bucket doesn't exist."""
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            yield [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise


def history(s3: Any, bucket: str, key: str) -> tuple[set[str], dict[str, Any] | None]:
    """The IDs of the versions of a key that exist, and the delete marker that is its latest version, if it has one."""
    versions, deleted = set[str](), None
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        found = [one for one in page.get("Versions", []) if one["Key"] == key]
        markers = [one for one in page.get("DeleteMarkers", []) if one["Key"] == key]
        if not found and not markers:
            break  # keys are in order, and the key itself is the first with this prefix
        versions |= {one["VersionId"] for one in found}
        deleted = deleted or next((one for one in markers if one["IsLatest"]), None)
    return versions, deleted


def delete_versions(s3: Any, bucket: str, prefix: str = "") -> None:
    """Deletes every object version and delete marker below a prefix. Can be repeated."""
    for page in versions_and_markers(s3, bucket, prefix):
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in page]
        if objects:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if errors := answer.get("Errors"):
                first = errors[0]
                raise CliError(
                    f"{bucket}: S3 did not delete {first['Key']}: {first['Message']}. Run the command again."
                )
