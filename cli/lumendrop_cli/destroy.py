"""`lumendrop destroy`: deletes the stack. Photos are deleted only with --delete-photos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.markup import escape

from lumendrop_cli.errors import CliError, error_code
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import printer
from lumendrop_cli.stack import Stack, load_stack

_BUCKETS = ("InputBucket", "OutputBucket")
# The other resources that the template retains, and the command that deletes each.
_RETAINED = {
    "LedgerTable": "aws dynamodb delete-table --table-name {}",
    "EncryptionKey": "aws kms schedule-key-deletion --key-id {}",
}
_DELETE_SECONDS = 1800


def destroy(
    context: typer.Context,
    delete_photos: Annotated[
        bool,
        typer.Option("--delete-photos", help="Also empty and delete the stack's own buckets, with every version."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
) -> None:
    """Delete the stack. Photos, ledger, and encryption key stay. With --delete-photos, the photos are deleted too."""
    stack, out = load_stack(context), printer(context)
    with out.progress("Counting photos …"):
        buckets = {stack.resource(one): _count(stack, one) for one in _BUCKETS if one in stack.resources}
    if not yes:
        out.confirm(f"Delete the stack {stack.name}? {_consequence(buckets, delete_photos)}")
    with out.progress(f"Deleting the stack {stack.name} …"):
        _delete_stack(stack)
    # The buckets come last: until the stack's rule is deleted, photos can still be uploaded and enhanced.
    for bucket in buckets if delete_photos else ():
        with out.progress(f"Emptying {bucket} …"):
            _empty(stack, bucket)
            stack.client("s3").delete_bucket(Bucket=bucket)
    retained = {name: stack.resource(name) for name in _RETAINED if name in stack.resources}
    kept = [] if delete_photos else list(buckets)
    out.result(
        {"stack": stack.name, "photos": buckets, "photos_deleted": delete_photos, "kept": [*kept, *retained.values()]},
        [
            f"The stack {escape(stack.name)} is deleted.",
            *(f"Kept: the bucket {one}. With --delete-photos, it would have been deleted." for one in kept),
            *(f"Kept: {name}. `{escape(_RETAINED[name].format(one))}` deletes it." for name, one in retained.items()),
        ],
    )


def _consequence(buckets: dict[str, int], delete_photos: bool) -> str:
    if not buckets:
        return "It has no buckets of its own; yours stay as they are."
    contents = ", ".join(f"{count:,} object versions in {bucket}" for bucket, count in buckets.items())
    return f"It has {contents}. {'They are permanently DELETED' if delete_photos else 'They stay'}."


def _count(stack: Stack, logical_id: str) -> int:
    return sum(len(page) for page in _pages(stack, stack.resource(logical_id)))


def _pages(stack: Stack, bucket: str) -> Iterator[list[dict[str, Any]]]:
    """The key and version ID of every object version and delete marker, in pages of up to 1,000."""
    try:
        for page in stack.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise


def _empty(stack: Stack, bucket: str) -> None:
    for page in _pages(stack, bucket):
        if page:
            answer = stack.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": page, "Quiet": True})
            if errors := answer.get("Errors"):
                raise CliError(f"{bucket}: S3 did not delete {errors[0]['Key']}: {errors[0]['Message']}. Try again.")


def _delete_stack(stack: Stack) -> None:
    """Deletes the stack, and with it its nested stacks. Raises CliError if CloudFormation can't."""
    stack.client("cloudformation").delete_stack(StackName=stack.name)
    status = poll_until(lambda: _deletion_status(stack), _DELETE_SECONDS)
    if status != "DELETE_COMPLETE":
        raise CliError(
            f"The stack {stack.name} is {status or 'still being deleted'}. No photo was deleted. The stack's events in "
            "the CloudFormation console show the cause; if the failed resource is a nested stack, see its events."
        )


def _deletion_status(stack: Stack) -> str | None:
    """The status after the deletion, or None while it is running. A deleted stack can't be described by its name."""
    try:
        described = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]
    except ClientError as error:
        if error_code(error) == "ValidationError":
            return "DELETE_COMPLETE"
        raise
    status: str = described["StackStatus"]
    return None if status == "DELETE_IN_PROGRESS" else status
