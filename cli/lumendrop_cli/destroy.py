"""`lumendrop destroy`: take the stack away, and the photos only if told to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.markup import escape

from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import Trouble
from lumendrop_cli.waiting import until

_BUCKETS = ("InputBucket", "OutputBucket")
# What the template retains beside its buckets, and how to delete it by hand.
_KEPT = {
    "LedgerTable": "aws dynamodb delete-table --table-name {}",
    "EncryptionKey": "aws kms schedule-key-deletion --key-id {}",
}
_DELETE_SECONDS = 1800


def destroy(
    context: typer.Context,
    delete_photos: Annotated[
        bool, typer.Option("--delete-photos", help="Empty and delete the stack's own buckets too, with every version.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Delete the stack. Photos, ledger and encryption key stay, unless --delete-photos says that the photos go too."""
    stack, out = find(context), output(context)
    with out.working("Counting photos …"):
        buckets = {stack.resource(one): _count(stack, one) for one in _BUCKETS if one in stack.resources}
    said = ", ".join(f"{count:,} object versions in {bucket}" for bucket, count in buckets.items())
    fate = "They are DELETED with it, for good" if delete_photos else "They stay"
    if not yes:
        own = f" It has {said}. {fate}." if buckets else " Its buckets are your own; they stay as they are."
        out.confirm(f"Delete the stack {stack.name}?{own}")
    with out.working(f"Deleting the stack {stack.name} …"):
        _delete(stack)
    # Only now: as long as the rule is there, somebody may still drop photos.
    for bucket in buckets if delete_photos else ():
        with out.working(f"Emptying {bucket} …"):
            _empty(stack, bucket)
            stack.client("s3").delete_bucket(Bucket=bucket)
    kept = {name: stack.resources[name][0] for name in _KEPT if name in stack.resources}
    left = [] if delete_photos else list(buckets)
    out.result(
        {"stack": stack.name, "photos": buckets, "photos_deleted": delete_photos, "kept": [*left, *kept.values()]},
        [
            f"The stack {escape(stack.name)} is deleted.",
            *(f"Kept: the bucket {one}; `lumendrop destroy --delete-photos` would have deleted it." for one in left),
            *(f"Kept: {name}; `{escape(_KEPT[name].format(one))}` deletes it." for name, one in kept.items()),
        ],
    )


def _count(stack: Stack, name: str) -> int:
    return sum(len(page) for page in _pages(stack, stack.resource(name)))


def _pages(stack: Stack, bucket: str) -> Iterator[list[dict[str, Any]]]:
    """Key and version of every object version and delete marker, a thousand at a time."""
    try:
        for page in stack.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def _empty(stack: Stack, bucket: str) -> None:
    for page in _pages(stack, bucket):
        if page:
            answer = stack.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": page, "Quiet": True})
            if errors := answer.get("Errors"):
                raise Trouble(f"{bucket}: S3 did not delete {errors[0]['Key']}: {errors[0]['Message']}. Try again.")


def _delete(stack: Stack) -> None:
    stack.client("cloudformation").delete_stack(StackName=stack.name)
    status = until(lambda: _ended(stack), _DELETE_SECONDS)
    if status != "gone":
        raise Trouble(
            f"The stack {stack.name} is {status or 'still being deleted'}; no photo was touched. "
            "Its events in the CloudFormation console say why."
        )


def _ended(stack: Stack) -> str | None:
    """How the deletion ended, or None while it runs."""
    try:
        described = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"].get("Code") == "ValidationError":
            return "gone"
        raise
    status: str = described["StackStatus"]
    return {"DELETE_COMPLETE": "gone", "DELETE_IN_PROGRESS": None}.get(status, status)
