"""What all commands share: options, exit codes, and words for what stands in the way."""

import importlib
import re
import socket
import tomllib
from pathlib import Path

import pytest

from lumendrop_cli.main import app
from tests.cli.owner import Lumendrop
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]


def test_help_names_every_command_and_exit_code(lumendrop: Lumendrop) -> None:
    done = lumendrop("--help")
    assert done.code == 0
    assert {"--stack", "--endpoint-url", "--profile", "--region", "--json", "status"} <= set(done.out.split())
    assert "Exit codes: 0 done" in done.out
    assert "Exit codes: 0 done" in lumendrop("status", "--help").out


@pytest.mark.parametrize("arguments", [("--json", "status", "in/a.jpg"), ("status", "in/a.jpg", "--json")])
def test_the_shared_options_stand_on_either_side_of_the_command(
    lumendrop: Lumendrop, arguments: tuple[str, ...]
) -> None:
    done = lumendrop("--stack=lumendrop", *arguments, "--region", "us-east-1")
    assert (done.code, done.json["rows"]) == (1, [])


def test_after_two_dashes_everything_is_the_commands(lumendrop: Lumendrop) -> None:
    assert lumendrop("--json", "status", "--", "--stack").json["key"] == "--stack"


@pytest.mark.parametrize("arguments", [("status",), ("nothing",), ("status", "a", "--nothing")])
def test_wrong_usage_is_2(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    assert lumendrop(*arguments).code == 2


def test_a_stack_that_is_not_there(lumendrop: Lumendrop) -> None:
    done = lumendrop("--json", "--stack", "other", "status", "a.jpg")
    assert (done.code, done.out) == (3, "")
    assert "no stack other in us-east-1" in done.err
    assert "--stack" in done.err


def test_a_stack_that_is_no_lumendrop(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    pipeline.cloud.client("cloudformation").create_stack(StackName="else", TemplateBody=template)
    for command in (("status", "a.jpg"), ("doctor",)):
        done = lumendrop("--stack", "else", *command)
        assert done.code == 3
        assert "has no output LedgerTableName: either it is no Lumendrop" in done.err


def test_no_credentials(lumendrop: Lumendrop) -> None:
    done = lumendrop("status", "a.jpg", settings={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    assert done.code == 3
    assert "Unable to locate credentials. Log in as for the AWS CLI" in done.err


def test_no_region(lumendrop: Lumendrop) -> None:
    done = lumendrop("status", "a.jpg", settings={"AWS_DEFAULT_REGION": None})
    assert done.code == 3
    assert "Name a --region" in done.err


def test_a_profile_that_is_not_there(lumendrop: Lumendrop) -> None:
    done = lumendrop("--profile", "nobody", "status", "a.jpg")
    assert done.code == 3
    assert "aws configure list-profiles" in done.err


def test_nobody_listens(lumendrop: Lumendrop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = lumendrop("--endpoint-url", f"http://127.0.0.1:{port}", "status", "a.jpg")
    assert done.code == 3
    assert "does the sandbox run?" in done.err


def test_credentials_that_may_not(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    role = pipeline.cloud.client("iam").get_role(RoleName=pipeline.cloud.resources["DeliverRole"])["Role"]["Arn"]
    done = lumendrop("status", "a.jpg", settings=dict(pipeline.cloud._permissions.credentials(role)))
    assert done.code == 3
    assert "These credentials may not do that" in done.err
    assert "Traceback" not in done.err


def test_what_is_installed_is_what_is_locked_and_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements/sandbox.in").read_text().splitlines()
    assert {one.partition(">")[0] for one in project["dependencies"]} <= set(locked)
    module, _, name = project["scripts"]["lumendrop"].partition(":")
    assert getattr(importlib.import_module(module), name) is app


def test_what_docs_alarms_and_reports_tell_the_owner_to_type_is_there(lumendrop: Lumendrop) -> None:
    told = [ROOT / "README.md", ROOT / "template.yaml", *ROOT.glob("docs/*.md"), *ROOT.glob("functions/*/app.py")]
    typed = {
        tuple(found.split())
        for path in told
        for found in re.findall(
            r"(?<!from )lumendrop ([a-z][a-z-]*(?: [A-Za-z/]+\.jpg| KEY)?(?: --[a-z-]+)*)", path.read_text()
        )
    }
    assert {command for command, *_ in typed} >= {"doctor", "set-key", "status", "retry", "fetch", "redrive", "pause"}
    for command, *rest in typed:
        done = lumendrop(command, "--help")
        assert done.code == 0, f"{command}: {done.err}"
        assert [one for one in rest if one.startswith("--") and one not in done.out] == [], command
