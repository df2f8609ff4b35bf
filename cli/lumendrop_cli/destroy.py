"""`lumendrop destroy`: deletes the stack. Photos are deleted only with --delete-photos."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from lumendrop_cli import event_source, polling, text, upload_queue
from lumendrop_cli.errors import CliError, error_code, on_interrupt
from lumendrop_cli.printer import printer, some_of
from lumendrop_cli.selection import DryRunOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.versions import delete_versions, versions_and_markers
from lumendrop_cli.workflow import running_backfills, running_executions

_BUCKETS = ("InputBucket", "OutputBucket")
# The other resources that the template retains: what each is good for, and the command that deletes it.
_RETAINED = {
    "LedgerTable": "It records what is paid for. `aws dynamodb delete-table --table-name {}` deletes it.",
    "EncryptionKey": (
        "Photos and ledger can't be read without it. `aws kms schedule-key-deletion --key-id {}` deletes it."
    ),
}
_DELETE_SECONDS = 1800
_BUCKET_ATTEMPTS = 10
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException"})


@dataclass(frozen=True)
class Pending:
    """What is lost, or paid for and not delivered, if the stack is deleted now."""

    executions: list[str]
    backfills: list[str]
    waiting: int
    dead_letters: int


def destroy(
    context: typer.Context,
    delete_photos: Annotated[
        bool,
        typer.Option("--delete-photos", help="Also empty and delete the stack's own buckets, with every version."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Delete the stack. Photos, ledger, and encryption key stay. With --delete-photos, the photos are deleted too.

    The buckets are emptied first, so that an interrupted command can be run again.
    """
    stack, out = load_stack(context, may_be_incomplete=True), printer(context)
    _check_deletable(stack)
    with out.progress("Counting photos, uploads, and executions …"):
        buckets = _count_photos(stack)
        pending = _pending(stack)
    redeployment = {} if delete_photos else _redeployment(stack)
    if dry_run:
        would = f"This would delete the stack {stack.name}. {_consequence(buckets, delete_photos)}"
        data = {"stack": stack.name, "photos": buckets, **asdict(pending), "parameters": redeployment}
        out.result(data, [*_pending_lines(pending), would])
        return
    for line in _pending_lines(pending):
        out.note(line)
    if not yes:
        out.confirm(f"Delete the stack {stack.name}? {_consequence(buckets, delete_photos)}")
    options = " --delete-photos" if delete_photos else ""
    again = f"To complete it, run `lumendrop destroy{options}` again."
    with on_interrupt(f"The stack {stack.name} may be partly deleted. {again}", {"stack": stack.name}):
        with out.progress("Disabling the event source …"):
            _pause(stack)
        if delete_photos:
            with out.progress("Stopping uploads and executions …"):
                _stop(stack, _pending(stack))  # what started until the event source was disabled, too
            for bucket in buckets:
                with out.progress(f"Emptying {bucket} …"):
                    _delete_bucket(stack, bucket)
        with out.progress(f"Deleting the stack {stack.name} …"):
            _delete_stack(stack, again)
    existing = {name: one.physical_id for name, one in stack.resources.items() if one.physical_id}
    retained = {name: existing[name] for name in _RETAINED if name in existing}
    kept = {} if delete_photos else buckets
    data = {"stack": stack.name, "photos": buckets, "photos_deleted": delete_photos, **asdict(pending)}
    data |= {"kept": [*kept, *retained.values()], "parameters": redeployment}
    out.result(data, [f"The stack {stack.name} is deleted.", *_kept_lines(kept, retained, redeployment)])


def _kept_lines(buckets: dict[str, int], retained: dict[str, str], redeployment: dict[str, str]) -> Iterator[str]:
    for bucket, number in buckets.items():
        yield (
            f"Kept: the bucket {bucket}, with {text.count(number, 'object version')}. To delete it, empty it in the S3 "
            f"console, then run `aws s3api delete-bucket --bucket {bucket}`."
        )
    yield from (f"Kept: {name} ({one}). {_RETAINED[name].format(one)}" for name, one in retained.items())
    if redeployment:
        yield "To continue with what is kept, so that no photo is paid for again, deploy with this lumendrop.toml:"
        yield "[parameters]"
        yield from (f"{name} = {text.to_json(value, indent=None)}" for name, value in redeployment.items())


def _redeployment(stack: Stack) -> dict[str, str]:
    """The parameters of a stack that continues with the buckets, the ledger, and the key of this one."""
    names = {
        "ExistingInputBucket": "InputBucketName",
        "ExistingOutputBucket": "OutputBucketName",
        "ExistingLedgerTable": "LedgerTableName",
    }
    if not set(names.values()) <= stack.outputs.keys():  # its creation failed
        return {}
    found = {name: stack.outputs[output] for name, output in names.items()}
    if (key := stack.resources.get("EncryptionKey")) and key.physical_id:
        _, partition, _, region, account, *_ = stack.output("WorkflowArn").split(":")
        found["KmsKey"] = f"arn:{partition}:kms:{region}:{account}:key/{key.physical_id}"
    return _changed_parameters(stack) | found


def _changed_parameters(stack: Stack) -> dict[str, str]:
    """Those that don't have their default."""
    declared = stack.client("cloudformation").get_template_summary(StackName=stack.name)["Parameters"]
    defaults = {one["ParameterKey"]: one.get("DefaultValue") for one in declared}
    return {name: value for name, value in stack.parameters.items() if value != defaults.get(name)}


def _check_deletable(stack: Stack) -> None:
    """Raises CliError if CloudFormation would refuse to delete the stack, before photos are deleted."""
    name = shlex.quote(stack.name)
    if stack.is_protected:
        command = (
            f"aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {name}"
        )
        raise CliError(
            f"The stack {stack.name} has termination protection. Nothing was deleted. To allow it, run `{command}`."
        )
    if stack.status.endswith("_IN_PROGRESS") and stack.status != "DELETE_IN_PROGRESS":
        raise CliError(f"The stack {stack.name} is {stack.status}. Nothing was deleted. Run the command again later.")


def _consequence(buckets: dict[str, int], delete_photos: bool) -> str:
    if not buckets:
        return "It has no buckets of its own; yours stay as they are."
    contents = ", ".join(f"{text.count(number, 'object version')} in {bucket}" for bucket, number in buckets.items())
    return f"It has {contents}. {'They are permanently DELETED' if delete_photos else 'They stay'}."


def _count_photos(stack: Stack) -> dict[str, int]:
    """The number of object versions and delete markers in each of the stack's own buckets that exist."""
    s3, found = stack.client("s3"), dict[str, int]()
    for logical_id in _BUCKETS:
        if (resource := stack.resources.get(logical_id)) and resource.physical_id:
            pages = list(map(len, versions_and_markers(s3, resource.physical_id)))
            if pages:  # at least one, unless the bucket doesn't exist
                found[resource.physical_id] = sum(pages)
    return found


def _pending(stack: Stack) -> Pending:
    return Pending(
        executions=list(running_executions(stack)) if "WorkflowArn" in stack.outputs else [],
        backfills=running_backfills(stack) if "BackfillWorkflowArn" in stack.outputs else [],
        waiting=_count_messages(stack, "UploadQueueUrl"),
        dead_letters=_count_messages(stack, "DeadLetterQueueUrl"),
    )


def _count_messages(stack: Stack, output: str) -> int:
    try:
        return upload_queue.count_messages(stack, stack.outputs[output]) if output in stack.outputs else 0
    except ClientError as error:
        if error_code(error) in _MISSING:
            return 0
        raise


def _pending_lines(pending: Pending) -> Iterator[str]:
    if pending.executions:
        count = len(pending.executions)
        yield f"Running executions: {count:,}. Their tasks are paid for, and their photos are not delivered."
        yield from some_of(pending.executions)
    if pending.backfills:
        yield f"Running backfills: {len(pending.backfills):,}."
        yield from some_of(pending.backfills)
    if pending.waiting:
        yield f"Waiting uploads: {pending.waiting:,}. They are not paid for, and are not enhanced."
    if pending.dead_letters:
        yield f"Messages in the dead-letter queue: {pending.dead_letters:,}. They are lost."


def _pause(stack: Stack) -> None:
    """Disables the event source, so that nothing more is paid for. A stack whose creation failed may have none."""
    mapping = stack.resources.get("SubmitFunctionUploads")
    if mapping and mapping.physical_id:
        try:
            event_source.switch(stack, event_source.DISABLED)
        except ClientError as error:
            if error_code(error) not in _MISSING:
                raise


def _stop(stack: Stack, pending: Pending) -> None:
    """Ends what still adds photos to the buckets."""
    rule = stack.resources.get("UploadRule")
    if rule and rule.physical_id:
        try:
            stack.client("events").disable_rule(Name=rule.physical_id)
        except ClientError as error:
            if error_code(error) not in _MISSING:
                raise
    for execution in (*pending.backfills, *pending.executions):
        stack.client("stepfunctions").stop_execution(
            executionArn=execution, error="stopped", cause="The owner deletes the stack with `lumendrop destroy`."
        )


def _delete_bucket(stack: Stack, bucket: str) -> None:
    """Empties a bucket and deletes it. Repeats that for results that are still being written."""
    s3 = stack.client("s3")
    for _ in range(_BUCKET_ATTEMPTS):
        delete_versions(s3, bucket)
        try:
            s3.delete_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) != "BucketNotEmpty":
                raise
            time.sleep(polling.INTERVAL_SECONDS)
        else:
            return
    raise CliError(f"Something still writes to {bucket}. Stop it, and run the command again.")


def _delete_stack(stack: Stack, again: str) -> None:
    """Deletes the stack, and with it its nested stacks. Raises CliError if CloudFormation can't."""
    stack.client("cloudformation").delete_stack(StackName=stack.name)
    status = polling.poll_until(lambda: _deletion_status(stack), _DELETE_SECONDS)
    if status != "DELETE_COMPLETE":
        raise CliError(
            f"The stack {stack.name} is {status or 'still being deleted'}. The stack's events in the CloudFormation "
            f"console show the cause; if the failed resource is a nested stack, see its events. {again}"
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
