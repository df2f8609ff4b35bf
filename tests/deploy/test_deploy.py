"""`lumendrop deploy` and `upgrade` create a stack from a release. The tests run in this order, in one account."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.cloudformation.models import cloudformation_backends

from lumendrop_cli import cost, deploy, release
from lumendrop_cli.change_set import ChangeSet
from lumendrop_cli.deploy import Deployed
from lumendrop_cli.errors import CliError, NotConfirmed
from lumendrop_cli.stack import Account
from sandbox.aws.cloud import ACCOUNT
from sandbox.demo.start import ROOT, Sandbox
from tests.cli.command import Lumendrop

BUCKET = f"lumendrop-artifacts-{ACCOUNT}-us-east-1"


@pytest.fixture
def parameters(empty: Sandbox) -> tuple[str, ...]:
    return ("--parameter", f"ApiBaseUrl={empty.enhancer}", "--parameter", "Resolution=1K")


@pytest.fixture
def s3(empty: Sandbox) -> Any:
    return empty.cloud.client("s3")


def stacks(empty: Sandbox) -> dict[str, str]:
    """The status of each stack by name, without nested stacks."""
    found = empty.cloud.client("cloudformation").describe_stacks()["Stacks"]
    return {one["StackName"]: one["StackStatus"] for one in found if "ParentId" not in one}


def test_a_clone_has_nothing_to_deploy(lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(release, "_FOLDER", tmp_path)
    refused = lumendrop("deploy", "--yes")
    assert (refused.code, "Deploy with `make deploy`, or install a release" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--parameter", "DailyTaskLimt=5"), "no parameter DailyTaskLimt; did you mean DailyTaskLimit?"),
        (("--parameter", "Xyz=5"), "no parameter Xyz; choose from AlarmEmail, AmbiguousSubmit"),
        (("--parameter", "DailyTaskLimit"), "'DailyTaskLimit' is not of the form Name=value"),
        (("--parameter", "DailyTaskLimit=many"), "DailyTaskLimit must be a number, not 'many'"),
        (("--parameter", "DailyTaskLimit=0"), "DailyTaskLimit must be at least 1, not '0'"),
        (("--parameter", "HeartbeatHours=169"), "HeartbeatHours must be at most 168, not '169'"),
        (("--parameter", "DailyTaskLimit=50.5"), "DailyTaskLimit must be a whole number, not '50.5'"),
        (("--parameter", "MaxUploadBytes=50."), "MaxUploadBytes must be a whole number, not '50.'"),
        (("--parameter", "TaskPriceUsd=0,12"), "TaskPriceUsd must be a number, not '0,12'"),
        (("--parameter", "InputPrefix=in/\n"), "InputPrefix contains a control character"),
        (("--parameter", "ProfileIds=\udcff"), "ProfileIds is not valid UTF-8"),
        (("--parameter", "Resolution=8K"), "Resolution must be one of 1K, 4K, not '8K'"),
        (("--parameter", "AlarmEmail=nobody"), "AlarmEmail must be empty or an e-mail address, not 'nobody'"),
        (("--parameter", f"ApiBaseUrl=https://{'a' * 64}"), "ApiBaseUrl must be an https URL"),
        (("--stack", "x" * 94), "a stack can't be named"),
        (("--stack", "my_stack"), "a stack can't be named 'my_stack'"),
        (("--config", "missing.toml"), "missing.toml can't be read: No such file or directory"),
    ],
)
def test_parameters_are_checked_before_aws_is_called(arguments: tuple[str, ...], message: str) -> None:
    refused = Lumendrop("http://127.0.0.1:1")("deploy", *arguments)
    assert refused.code == 2
    assert message in refused.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters]\nDailyTaskLimit = 0\n", "DailyTaskLimit must be at least 1"),
        ("[parameters]\nSamePhoto = true\n", "SamePhoto must be a text or a number"),
        ("[stack]\nname = 'x'\n", "can have only the table [parameters], not stack"),
        ("parameters = 1\n", "can have only the table [parameters], not parameters"),
        ("[parameters]\nDailyTaskLimit = 5.2e2\n", "DailyTaskLimit must be a whole number, not '520.0'"),
        (f"[parameters]\nProfileIds = {'[' * 10_000}\n", "is not valid TOML"),
        ("[", "is not valid TOML"),
    ],
)
def test_the_file_of_the_current_folder_is_checked_too(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "lumendrop.toml").write_text(text)
    refused = Lumendrop("http://127.0.0.1:1")("deploy")
    assert (refused.code, message in refused.err) == (2, True), refused.err


def test_a_dry_run_shows_the_changes_and_leaves_nothing_but_artifacts(
    lumendrop: Lumendrop, empty: Sandbox, s3: Any, built: Path
) -> None:
    shown = lumendrop("deploy", "--dry-run")
    assert shown.code == 0, shown.err
    assert f"Create the stack lumendrop in us-east-1, account {ACCOUNT}, with version 0.2.0." in shown.out
    assert "  3 Lambda Function" in shown.out
    assert "  1 DynamoDB Table" in shown.out
    assert "The stack costs about 2.86 USD a month." in shown.out
    assert "open: https://" not in shown.out  # the sandbox has no console
    assert stacks(empty) == {}
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    artifacts = {f"lumendrop/{path.name}" for path in built.iterdir()} - {
        "lumendrop/template.json",
        "lumendrop/CHANGELOG.md",
    }
    assert artifacts < keys
    assert len(keys - artifacts) == 1  # the template with the places of the artifacts

    # Only what is missing is uploaded, and what somebody replaced.
    (replaced,) = (key for key in keys if "SubmitFunction" in key)
    s3.put_object(Bucket=BUCKET, Key=replaced, Body=b"something else")
    again = lumendrop.ok("deploy", "--dry-run", "--parameter", "KmsKey=create")
    assert [f"lumendrop/{name}" for name in again["uploaded"]] == [replaced]
    assert (again["executed"], len(again["changes"]), again["console_url"]) == (False, 54, None)
    (template,) = keys - artifacts
    assert again["template_url"] == f"{empty.cloud.endpoint}/{BUCKET}/{template}"


def test_a_dry_run_of_a_new_stack_links_to_the_console(lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[Any]()

    def link(_: Any, *shown: Any) -> str:
        opened.append(shown)
        return "https://console.example/#a"

    monkeypatch.setattr(deploy, "creation_url", link)
    shown = lumendrop("deploy", "--dry-run", "--parameter", "Resolution=1K")
    assert shown.out.endswith("To create the stack in the console instead, open: https://console.example/#a\n")
    found = lumendrop.ok("deploy", "--dry-run", "--parameter", "Resolution=1K")
    assert found["console_url"] == "https://console.example/#a"
    assert opened == [("lumendrop", found["template_url"], {"Resolution": "1K"})] * 2


def test_the_monthly_cost_is_that_of_the_benchmarks() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert re.findall(r"\+ ([0-9.]+) a month \(", page) == [f"{cost.monthly_usd(own_key=False):.2f}"]
    assert cost.monthly_usd(own_key=True) == cost.monthly_usd(own_key=False) + 1


def test_the_bucket_is_private_encrypted_and_requires_tls(s3: Any) -> None:
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_the_bucket_has_stays_and_what_it_lacks_is_set(lumendrop: Lumendrop, s3: Any) -> None:
    key = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [key]})
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    policy["Statement"][0]["Sid"] = "Mine"
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    s3.delete_public_access_block(Bucket=BUCKET)
    lumendrop.ok("deploy", "--dry-run")
    assert "Mine" in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}


def test_a_bucket_that_is_named_must_exist(lumendrop: Lumendrop) -> None:
    refused = lumendrop("deploy", "--dry-run", "--artifact-bucket", "mispelled")
    assert (refused.code, "There is no bucket mispelled. Create it" in refused.err) == (3, True)


def test_a_bucket_of_your_own_stays_as_it_is(lumendrop: Lumendrop, s3: Any) -> None:
    s3.create_bucket(Bucket="mine")
    assert lumendrop.ok("deploy", "--dry-run", "--artifact-bucket", "mine")["artifact_bucket"] == "mine"
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="mine")


def test_a_bucket_of_another_region_is_refused(lumendrop: Lumendrop, s3: Any) -> None:
    s3.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    refused = lumendrop("deploy", "--dry-run", "--artifact-bucket", "far-away")
    assert (refused.code, "is in eu-west-1, and the stack in us-east-1" in refused.err) == (3, True), refused.err


def test_without_a_yes_nothing_is_created(lumendrop: Lumendrop, empty: Sandbox) -> None:
    declined = lumendrop("deploy")  # no terminal, and no --yes
    assert (declined.code, "The question needs a terminal, so nothing was done." in declined.err) == (1, True)
    assert stacks(empty) == {}


def test_a_stack_of_somebody_else_is_refused(lumendrop: Lumendrop, empty: Sandbox) -> None:
    cloudformation = empty.cloud.client("cloudformation")
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    cloudformation.create_stack(StackName="foreign", TemplateBody=json.dumps(template))
    refused = lumendrop("--stack", "foreign", "deploy", "--yes")
    assert (refused.code, "is not a Lumendrop stack" in refused.err) == (3, True)
    cloudformation.delete_stack(StackName="foreign")


def test_upgrade_needs_a_stack(lumendrop: Lumendrop) -> None:
    refused = lumendrop("upgrade", "--yes")
    assert (refused.code, "Create it with `lumendrop deploy`" in refused.err) == (3, True)


def test_a_failed_creation_names_the_first_error_and_what_to_do(
    lumendrop: Lumendrop, empty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.cloud.client("logs").create_log_group(logGroupName="/lumendrop/broken/submit")
    failed = lumendrop("--stack", "broken", "deploy", "--yes")
    assert failed.code == 3
    assert "The stack broken is ROLLBACK_COMPLETE. The first error is that of" in failed.err
    assert "The specified log group already exists" in failed.err
    assert "Delete it, or choose another --stack." in failed.err
    again = lumendrop("--stack", "broken", "--region", "us-east-1", "deploy", "--yes")
    command = "`aws --region us-east-1 cloudformation delete-stack --stack-name broken`"
    assert (again.code, command in again.err) == (3, True)
    refused = lumendrop("--stack", "broken", "--region", "us-east-1", "destroy", "--yes")
    assert (refused.code, command in refused.err) == (3, True)


def test_deploy_creates_the_stack_and_photos_are_enhanced(
    lumendrop: Lumendrop, empty: Sandbox, parameters: tuple[str, ...], tmp_path: Path
) -> None:
    # A change set that was never executed leaves a stack in review.
    cloudformation = empty.cloud.client("cloudformation")
    keys = empty.cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="lumendrop/template-")["Contents"]
    url = f"{empty.cloud.endpoint}/{BUCKET}/{keys[0]['Key']}"
    cloudformation.create_change_set(
        StackName="lumendrop", ChangeSetName="mine", TemplateURL=url, ChangeSetType="CREATE"
    )
    assert stacks(empty)["lumendrop"] == "REVIEW_IN_PROGRESS"

    (tmp_path / "lumendrop.toml").write_text("[parameters]\nDailyTaskLimit = 60\nResolution = '4K'\n")
    deployed = lumendrop("deploy", "--yes", *parameters)
    assert deployed.code == 0, deployed.err
    assert "CREATE_COMPLETE: 49 of 53 resources" in deployed.err
    assert "Next: `lumendrop set-key`, `lumendrop doctor`, `lumendrop smoke`." in deployed.err
    assert stacks(empty)["lumendrop"] == "CREATE_COMPLETE"
    (stack,) = cloudformation.describe_stacks(StackName="lumendrop")["Stacks"]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert (values["DailyTaskLimit"], values["Resolution"], values["SamePhoto"]) == ("60", "1K", "reuse")

    assert lumendrop.ok("set-key", stdin=f"{empty.key}\n")["stored"]
    assert lumendrop.ok("smoke", "--yes", "--timeout", "60")["photo"].startswith("s3://")


def test_a_stack_that_somebody_else_creates_meanwhile_stays(
    lumendrop: Lumendrop, empty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people review a change set for the same new stack. One executes it, then the other declines."""
    cloudformation = empty.cloud.client("cloudformation")

    def meanwhile(*_: Any) -> None:
        backend = cloudformation_backends[ACCOUNT]["us-east-1"]
        backend.get_stack("other").status = "CREATE_IN_PROGRESS"

    monkeypatch.setattr(deploy.Printer, "confirm", lambda *_: meanwhile() or _decline())
    assert lumendrop("--stack", "other", "deploy").code == 1
    assert stacks(empty)["other"] == "CREATE_IN_PROGRESS"
    cloudformation.delete_stack(StackName="other")


@pytest.mark.parametrize("code", ["ChangeSetNotFound", "InvalidChangeSetStatus"])
def test_a_change_set_that_is_outdated_asks_to_run_again(code: str) -> None:
    client = SimpleNamespace(execute_change_set=_failing(code))
    account = Account(ACCOUNT, "us-east-1", "aws", lambda _: client)
    with pytest.raises(CliError, match=r"Something else changed the stack meanwhile.* Run the command again\."):
        deploy._start(account, ChangeSet("arn", "stack", "UPDATE", []))


def test_an_error_while_following_says_that_the_deployment_continues(
    lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_start", lambda *_: None)
    monkeypatch.setattr(deploy, "follow", _failing("Throttling"))
    failed = lumendrop("--stack", "other", "deploy", "--yes")
    assert "AWS returned Throttling" in failed.err
    assert "CloudFormation continues without this command." in failed.err


def _failing(code: str) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")

    return fail


@pytest.mark.parametrize("version", ["0.2.0rc1", "", "next"])
def test_other_versions_can_be_compared(version: str) -> None:
    assert release.as_numbers(version) < release.as_numbers("0.3.0")


def _decline() -> None:
    raise NotConfirmed("no")


def test_without_changes_nothing_is_done(lumendrop: Lumendrop) -> None:
    for command in ("deploy", "upgrade"):
        same = lumendrop(command, "--yes")
        assert (same.code, same.out) == (0, "The stack lumendrop is up to date. Nothing was changed.\n")
    # Another tool finds the template here.
    assert lumendrop.ok("deploy", "--dry-run")["template_url"].startswith("http")


def test_values_that_are_not_given_stay(lumendrop: Lumendrop) -> None:
    shown = lumendrop.ok("deploy", "--dry-run", "--parameter", "DailyTaskLimit=70")
    assert shown["console_url"] is None  # which would create another stack
    changed = {one["logical_id"]: one["action"] for one in shown["changes"]}
    assert changed.keys() >= {"SubmitFunction", "Monitoring"}
    assert "CheckStatusFunction" not in changed


def test_data_that_would_leave_the_stack_is_named(lumendrop: Lumendrop) -> None:
    declined = lumendrop("deploy", "--parameter", "ExistingInputBucket=mine", typed="n\n")
    assert "  InputBucket (AWS::S3::Bucket)" in declined.err
    warning = "WARNING: InputBucket leaves the stack. It stays in the account, outside the stack. It holds photos."
    assert warning in declined.err
    assert "Change the stack lumendrop as shown? It loses data, as the warnings say." in declined.err


@pytest.fixture
def newer(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command has version 0.3.0."""
    folder = tmp_path / "release"
    folder.mkdir()
    for path in built.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    template = json.loads((folder / "template.json").read_text())
    template["Outputs"]["Version"]["Value"] = "0.3.0"
    template["Resources"]["SubmitFunction"]["Properties"]["Timeout"] = 61
    (folder / "template.json").write_text(json.dumps(template))
    monkeypatch.setattr(release, "_FOLDER", folder)


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("ExistingInputBucket=not-there", "There is no bucket not-there (ExistingInputBucket)."),
        (
            "ExistingOutputBucket=far-away",
            "The bucket far-away (ExistingOutputBucket) is in eu-west-1, not in us-east-1.",
        ),
        (
            "ExistingLedgerTable=x-LedgerTable-1",
            "There is no table x-LedgerTable-1 in us-east-1 (ExistingLedgerTable).",
        ),
    ],
)
def test_data_that_does_not_exist_is_found_before_anything_is_uploaded(
    lumendrop: Lumendrop, parameter: str, reason: str
) -> None:
    refused = lumendrop("--stack", "other", "deploy", "--parameter", parameter)
    assert (refused.code, reason in refused.err, "Uploading" in refused.err) == (3, True, False)


def test_other_data_is_warned_of() -> None:
    parameters = {name: {} for name in ("ExistingLedgerTable", "ExistingInputBucket")}
    mine = SimpleNamespace(version="0.2.0", parameters=parameters)
    before = Deployed("CREATE_COMPLETE", "0.2.0", {"ExistingLedgerTable": "a", "ExistingInputBucket": ""})
    changed = {"ExistingLedgerTable": ["a", ""], "ExistingInputBucket": ["", "b"]}
    assert list(deploy._parameter_warnings(mine, before, changed)) == [  # type: ignore[arg-type]
        "ExistingLedgerTable changes. The stack forgets what is paid for: a backfill would pay for every photo again."
    ]


@pytest.fixture
def older(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command has a version that lacks a parameter."""
    folder = tmp_path / "release"
    shutil.copytree(built, folder)
    template = json.loads((folder / "template.json").read_text())
    template["Outputs"]["Version"]["Value"] = "0.1.9"
    del template["Parameters"]["TaskPriceUsd"], template["Outputs"]["TaskPriceUsd"]
    (folder / "template.json").write_text(json.dumps(template))
    monkeypatch.setattr(release, "_FOLDER", folder)


@pytest.mark.usefixtures("older")
def test_going_back_names_what_is_lost(lumendrop: Lumendrop) -> None:
    found = lumendrop.ok("deploy", "--dry-run", "--parameter", "DailyTaskLimit=70")
    assert found["warnings"] == [
        "The stack has version 0.2.0, which is newer. Read the upgrade notes of both versions.",
        "Version 0.1.9 has no parameter TaskPriceUsd. What the stack has for it is lost.",
    ]
    assert found["parameters"] == {"DailyTaskLimit": ["60", "70"]}
    assert (
        "Parameter DailyTaskLimit: '60' becomes '70'."
        in lumendrop("deploy", "--dry-run", "--parameter", "DailyTaskLimit=70").out
    )


@pytest.mark.usefixtures("newer")
def test_upgrade_shows_what_is_new(lumendrop: Lumendrop) -> None:
    shown = lumendrop("upgrade", typed="n\n")
    assert "- Something of 0.3.0." in shown.err
    assert not [text for text in ("Something of 0.2.0", "Not yet", "Something of 0.1.0") if text in shown.err]
    assert "Update the stack lumendrop" in shown.err
    assert "  SubmitFunction (AWS::Lambda::Function)" in shown.err


@pytest.mark.usefixtures("newer")
def test_an_interrupted_update_continues_without_the_command(
    lumendrop: Lumendrop, empty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy, "last_event", interrupt)  # the sandbox executes no updates
    interrupted = lumendrop("upgrade", "--yes", "--json")
    assert (interrupted.code, interrupted.json["stack"]) == (130, "lumendrop")
    assert "CloudFormation continues without this command." in interrupted.err
    assert "aws cloudformation describe-stack-events --stack-name lumendrop" in interrupted.err
    assert stacks(empty)["lumendrop"] == "CREATE_COMPLETE"


def test_upgrade_never_goes_back(lumendrop: Lumendrop, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = release.load_release()
    monkeypatch.setattr("lumendrop_cli.upgrade.load_release", lambda: _as_version(older, "0.1.5"))
    refused = lumendrop("upgrade", "--yes")
    assert (refused.code, "has version 0.2.0, and this command is version 0.1.5" in refused.err) == (1, True)


def _as_version(found: release.Release, version: str) -> release.Release:
    return release.Release(version, found.template, found.files, found.changelog)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UPDATE_IN_PROGRESS", "Watch it in the CloudFormation console"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name lumendrop"),
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack --stack-name lumendrop"),
    ],
)
def test_a_stack_that_cant_be_updated_now_is_refused(
    lumendrop: Lumendrop, empty: Sandbox, monkeypatch: pytest.MonkeyPatch, status: str, message: str
) -> None:
    stack = cloudformation_backends[ACCOUNT]["us-east-1"].get_stack("lumendrop")
    monkeypatch.setattr(stack, "status", status)
    refused = lumendrop("deploy", "--yes")
    assert refused.code == 3
    assert f"The stack lumendrop is {status}." in refused.err
    assert message in refused.err
