"""`lumendrop deploy`: creates or updates a stack from the release in this installation."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop_cli import cost, set_key
from lumendrop_cli.artifact_bucket import check_data, key_of, open_bucket, upload_missing, url_of
from lumendrop_cli.change_set import ChangeSet, create_change_set, discard, summary, warnings
from lumendrop_cli.console import creation_url
from lumendrop_cli.deployment_events import first_error, follow, last_event, status_of
from lumendrop_cli.doctor import doctor
from lumendrop_cli.errors import AWS_ERROR, CliError, NotConfirmed, describe, error_code, on_interrupt
from lumendrop_cli.printer import Printer, Progress, printer
from lumendrop_cli.release import Release, as_numbers, load_release
from lumendrop_cli.smoke import smoke
from lumendrop_cli.stack import Account, load_stack, open_account
from lumendrop_cli.template_parameters import for_change_set, read_parameters

_SUCCESS = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# Parameters that name data of the owner, and what another value means.
_CONSEQUENCES = {
    "ExistingInputBucket": "The stack enhances no more uploads to the earlier bucket.",
    "ExistingOutputBucket": "The stack writes results to another bucket, and reuses none of the earlier ones.",
    "ExistingLedgerTable": "The stack forgets what is paid for: a backfill would pay for every photo again.",
}
_OUTDATED = ("ChangeSetNotFound", "ChangeSetNotFoundException", "InvalidChangeSetStatus")
_MOST_NAME = 93  # docs/limits.md: the display names of the topics
# Lumendrop's stacks have these outputs. Others are not touched.
_OWN_OUTPUTS = frozenset({"LedgerTableName", "WorkflowArn", "InputBucketName", "OutputBucketName"})

ParameterOption = Annotated[
    list[str] | None,
    typer.Option("--parameter", metavar="NAME=VALUE", help="A parameter of the template. Can be repeated."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A TOML file with parameters. Without it, lumendrop.toml of the current folder, if there is one.",
        dir_okay=False,
    ),
]
BucketOption = Annotated[
    str | None,
    typer.Option(
        "--artifact-bucket",
        metavar="BUCKET",
        help="The bucket for template and code, instead of lumendrop-artifacts-ACCOUNT-REGION.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Upload the artifacts, show the changes, and leave the stack as it is.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Don't ask for confirmation, and don't offer what follows.")
]


@dataclass(frozen=True)
class Deployed:
    """The stack as it is now. `status` is empty if there is none, `version` if it doesn't state one."""

    status: str
    version: str
    parameters: dict[str, str]

    @property
    def kind(self) -> str:
        """The type of the change set. A stack in review has only a change set that was never executed."""
        return "CREATE" if self.status in ("", "REVIEW_IN_PROGRESS") else "UPDATE"


def deploy(
    context: typer.Context,
    parameter: ParameterOption = None,
    config: ConfigOption = None,
    artifact_bucket: BucketOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Create the stack in your account, or update it to this version. Shows changes and cost first, and asks.

    Parameters that are not given keep their values. A new stack gets the defaults.
    """
    release = load_release()
    values = read_parameters(parameter, config, release.parameters)
    _check_name(context.obj.stack)
    account = open_account(context)
    deployed = find_deployed(account, context.obj.stack)
    apply_release(context, release, account, deployed, values, artifact_bucket, dry_run=dry_run, yes=yes)


def _check_name(stack: str) -> None:
    """Raises BadParameter for a name that CloudFormation refuses, or that is too long for the names of the topics."""
    if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9-]{{0,{_MOST_NAME - 1}}}", stack):
        raise typer.BadParameter(
            f"a stack can't be named {stack!r}. Use a letter, then letters, digits, and hyphens, at most {_MOST_NAME} "
            "in all"
        )


def apply_release(
    context: typer.Context,
    release: Release,
    account: Account,
    deployed: Deployed,
    values: dict[str, str],
    artifact_bucket: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Deploys a release: uploads it, explains the changes, asks, executes them, and follows them."""
    out, stack = printer(context), context.obj.stack
    data = {"stack": stack, "version": release.version, "previous_version": deployed.version or None, "executed": False}
    with on_interrupt("The stack is unchanged."):
        check_data(account, values)
        with out.progress("Uploading the artifacts …") as progress:
            bucket = open_bucket(account, artifact_bucket)
            url, uploaded = _upload(account, bucket, release, progress)
        data |= {"artifact_bucket": bucket, "uploaded": uploaded, "template_url": url}
        with out.progress("Creating the change set …"):
            parameters = for_change_set(values, release.parameters, deployed.parameters)
            change_set = create_change_set(account, stack, deployed.kind, url, parameters)
        if change_set is None:
            out.result(data | {"changes": []}, [f"The stack {stack} is up to date. Nothing was changed."])
            return
        effects = _effects(release, deployed, values, change_set)
        data |= effects
        explanation = list(_explanation(stack, account, release, change_set, effects))
        if dry_run:
            discard(account, change_set)
            link = creation_url(account, stack, url, values) if change_set.kind == "CREATE" else None
            opened = [f"To create the stack in the console instead, open: {link}"] if link else []
            out.result(data | {"console_url": link}, [*explanation, *opened])
            return
        for line in explanation:
            out.note(line)
        if not yes:
            _confirm(out, account, stack, change_set)
    _execute(out, account, stack, change_set)
    _finish(context, out, data, change_set, ask=not yes)


def _finish(context: typer.Context, out: Printer, data: dict[str, Any], change_set: ChangeSet, *, ask: bool) -> None:
    """Prints the result. For a new stack, offers what it still needs, or prints the commands for it."""
    found, is_new = load_stack(context), change_set.kind == "CREATE"
    steps = [out.command(name) for name in (*(("set-key",) if is_new else ()), "doctor", "smoke")]
    source = found.output("InputBucketName")
    text = f"The stack {found.name} has version {data['version']}. Upload photos to {source}."
    out.result(data | {"executed": True, "outputs": found.outputs, "next": steps}, [text])
    listed = ", ".join(f"`{one}`" for one in steps)
    if not is_new:
        return
    if not (ask and out.is_interactive):
        out.note(f"Next: {listed}. Wait five minutes before you upload photos.")
        return
    if not set_key.offer(found, out):
        out.note(f"Later: {listed}.")
        return
    doctor(context)
    try:
        smoke(context)  # waits for EventBridge, pays for one task, and asks
    except NotConfirmed:
        out.note(f"Later: `{steps[-1]}`.")


def find_deployed(account: Account, stack: str) -> Deployed:
    """The stack as it is. Raises CliError if it can't be updated now, or is not Lumendrop's."""
    try:
        found = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) == "ValidationError":
            return Deployed("", "", {})
        raise
    status, outputs = found["StackStatus"], {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    if status == "REVIEW_IN_PROGRESS":
        return Deployed(status, "", {})
    if refusal := _refusal(stack, status):
        raise CliError(f"The stack {stack} is {status}. {refusal}", AWS_ERROR)
    if not outputs.keys() >= _OWN_OUTPUTS:
        raise CliError(f"The stack {stack} is not a Lumendrop stack. Choose another name with --stack.", AWS_ERROR)
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    return Deployed(status, outputs.get("Version", ""), parameters)


def _refusal(stack: str, status: str) -> str:
    """Why CloudFormation would not update a stack with this status, and what to do; empty if it would."""
    name = shlex.quote(stack)
    if status.endswith("_IN_PROGRESS"):
        return f"Something else changes it. {_how_to_watch(name)}"
    if status == "UPDATE_ROLLBACK_FAILED":
        command = f"aws cloudformation continue-update-rollback --stack-name {name}"
        return f"An update failed and could not be undone. Fix the cause that its events name, then run `{command}`."
    if status in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        command = f"aws cloudformation delete-stack --stack-name {name}"
        return (
            "It was not created, or not deleted, completely, and can't be updated. Delete it in the CloudFormation "
            f"console, or with `{command}`, then deploy again. Its buckets and its ledger, if any, stay in the account."
        )
    return ""


def _how_to_watch(name: str) -> str:
    command = f"aws cloudformation describe-stack-events --stack-name {name} --max-items 5"
    return f"Watch it in the CloudFormation console, or with `{command}`."


def _upload(account: Account, bucket: str, release: Release, progress: Progress) -> tuple[str, list[str]]:
    """Uploads the release. Returns the URL of its template, and the names of the files that were missing."""
    files = {path.name: path.read_bytes() for path in release.files}
    url = url_of(account, bucket)
    located = release.located_template(bucket, {name: key_of(name) for name in files}, url)
    template = json.dumps(located, separators=(",", ":")).encode()
    name = f"template-{hashlib.sha256(template).hexdigest()}.json"
    return f"{url}/{key_of(name)}", upload_missing(account, bucket, files | {name: template}, progress)


def _effects(release: Release, deployed: Deployed, values: dict[str, str], change_set: ChangeSet) -> dict[str, Any]:
    """What the change set changes, for programs."""
    before = deployed.parameters
    changed = {name: [before[name], new] for name, new in values.items() if before.get(name, new) != new}
    return {
        "changes": [asdict(one) for one in change_set.changes],
        "parameters": changed,
        "warnings": [*_parameter_warnings(release, deployed, changed), *warnings(change_set)],
        "usd_a_month": cost.monthly_usd(own_key=(before | values).get("KmsKey") == "create"),
    }


def _explanation(
    stack: str, account: Account, release: Release, change_set: ChangeSet, effects: dict[str, Any]
) -> Iterator[str]:
    """The same, for people."""
    verb = "Create" if change_set.kind == "CREATE" else "Update"
    yield f"{verb} the stack {stack} in {account.region}, account {account.number}, with version {release.version}."
    yield from summary(change_set)
    yield from (f"Parameter {name}: {old!r} becomes {new!r}." for name, (old, new) in effects["parameters"].items())
    yield f"The stack costs about {effects['usd_a_month']:.2f} USD a month. Each photo is paid for in addition."
    yield from (f"WARNING: {one}" for one in effects["warnings"])


def _parameter_warnings(release: Release, deployed: Deployed, changed: dict[str, list[str]]) -> Iterator[str]:
    """What going back to an earlier version means, and other buckets, or another ledger."""
    if deployed.version and as_numbers(deployed.version) > as_numbers(release.version):
        yield f"The stack has version {deployed.version}, which is newer. Read the upgrade notes of both versions."
    if lost := sorted(deployed.parameters.keys() - release.parameters.keys()):
        yield f"Version {release.version} has no parameter {', '.join(lost)}. What the stack has for it is lost."
    for name, consequence in _CONSEQUENCES.items():
        if changed.get(name, [""])[0]:
            yield f"{name} changes. {consequence}"


def _confirm(out: Printer, account: Account, stack: str, change_set: ChangeSet) -> None:
    try:
        loses = " It loses data, as the warnings say." if list(warnings(change_set)) else ""
        verb = "Create" if change_set.kind == "CREATE" else "Change"
        out.confirm(f"{verb} the stack {stack} as shown?{loses}")
    except BaseException:  # also Ctrl-C
        discard(account, change_set)
        raise


def _start(account: Account, change_set: ChangeSet) -> None:
    try:
        account.client("cloudformation").execute_change_set(ChangeSetName=change_set.arn, StackName=change_set.stack_id)
    except ClientError as error:
        if error_code(error) not in _OUTDATED:
            raise
        changed = "Something else changed the stack meanwhile, so nothing was done. Run the command again."
        raise CliError(changed, AWS_ERROR) from None


def _execute(out: Printer, account: Account, stack: str, change_set: ChangeSet) -> None:
    """Executes a change set, and follows it to its end. Raises CliError if it fails."""
    name = shlex.quote(stack)
    continues = f"CloudFormation continues without this command. {_how_to_watch(name)}"
    with on_interrupt(continues, {"stack": stack}), out.progress("Starting …") as progress:
        before = last_event(account, change_set.stack_id)
        _start(account, change_set)
        names = {one.logical_id for one in change_set.changes}
        try:
            events = follow(account, change_set.stack_id, before, names, progress)
        except (BotoCoreError, ClientError) as error:
            raise CliError(f"{describe(error)} {continues}", AWS_ERROR) from None
    status = status_of(events, change_set.stack_id)
    if status in _SUCCESS:
        return
    if not status or status.endswith("_IN_PROGRESS"):
        raise CliError(f"The stack {stack} is still {status or 'waiting'}. {continues}", AWS_ERROR)
    after = _refusal(stack, status) or "The stack is as it was before the update."
    texts = (f"The stack {stack} is {status}.", first_error(account, events), after)
    raise CliError(" ".join(filter(None, texts)), AWS_ERROR)
