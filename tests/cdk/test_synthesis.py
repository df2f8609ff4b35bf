"""The app of docs/other-tools.md, synthesized by the AWS CDK: `make check-cdk`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lumendrop_cli.release import REFERENCES
from release.artifacts import read_template, write_artifacts
from sandbox.aws.template import _translate
from tests.template.other_tools import code
from tests.template.reading import REGION, ROOT

MODULES = ROOT / ".venv-cdk/node_modules"
BUCKET = {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"}
# What `cdk init` writes into a new project: findings of the validation end the synthesis.
FLAGS = {"@aws-cdk/core:validateAgainstDefaultRules": True}

Template = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app with the files of a release of this checkout. Their content does not matter to the CDK."""
    build, folder = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("app")
    for name in ("template.yaml", "monitoring.yaml"):
        shutil.copy(ROOT / name, build)
    for name in ("functions", "statemachines"):
        shutil.copytree(ROOT / name, build / name)
    shutil.copytree(ROOT / "layers/lumendrop", build / "layers/python/lumendrop")
    template = read_template(build)
    release = folder / f"lumendrop-{template['Outputs']['Version']['Value']}"
    release.mkdir()
    write_artifacts(build, template, release)
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "app.mjs").write_text(code("js"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def synthesized(folder: Path) -> Path:
    """The folder of the assembly. The CDK prints nothing if it finds nothing."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CDK_CONTEXT_JSON": json.dumps(FLAGS)}
    done = subprocess.run(
        ["node", "app.mjs"],
        cwd=folder,
        env={**environment, "CDK_OUTDIR": str(folder / "cdk.out")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder / "cdk.out"


@pytest.fixture(scope="module")
def released(folder: Path) -> Template:
    (path,) = folder.glob("lumendrop-*/template.json")
    return _read(path)


@pytest.fixture(scope="module")
def template(synthesized: Path) -> Template:
    return _read(synthesized / "lumendrop.template.json")


def test_only_the_places_of_the_files_differ(released: Template, template: Template) -> None:
    assert _without_places(template) == _without_places(released)


def test_each_file_is_an_asset(released: Template, template: Template, folder: Path, synthesized: Path) -> None:
    (release,) = folder.glob("lumendrop-*")
    for name, kind, reference in _references(released):
        place = template["Resources"][name]["Properties"][reference]
        if kind == "AWS::CloudFormation::Stack":
            *_, key = place["Fn::Join"][1]
            (nested,) = synthesized.glob("*.nested.template.json")
            assert key.strip("/") in (synthesized / "lumendrop.assets.json").read_text()
            assert _read(nested) == _read(release / released["Resources"][name]["Properties"][reference])
        else:
            assert place["Bucket"] == BUCKET
            original = release / released["Resources"][name]["Properties"][reference]
            assert _hash(synthesized / f"asset.{place['Key']}") == _hash(original)


def test_sam_translates_it_as_it_translates_the_release(released: Template, template: Template) -> None:
    """Each function gets its alias and its deployment, and its code from the CDK's bucket."""
    for name, kind, reference in _references(released):
        if kind != "AWS::CloudFormation::Stack":
            released["Resources"][name]["Properties"][reference] = {"Bucket": "mine", "Key": name}
    values = {name: str(one["Default"]) for name, one in template["Parameters"].items()}
    mine, theirs = (_translate(one, values, Path("template.json"), REGION)["Resources"] for one in (template, released))
    assert _kinds(mine) == _kinds(theirs)
    functions = [one["Properties"]["Code"] for one in mine.values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == 3
    assert {one["S3Bucket"]["Fn::Sub"].partition("${")[0] for one in functions} == {"cdk-hnb659fds-assets-"}
    assert len({one["S3Key"] for one in functions}) == 3


def _read(path: Path) -> Template:
    found: Template = json.loads(path.read_text(encoding="utf-8"))
    return found


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _references(template: Template) -> Iterator[tuple[str, str, str]]:
    """Each resource that names a file: its name, its type, and the property."""
    for name, one in template["Resources"].items():
        if one["Type"] in REFERENCES:
            yield name, one["Type"], REFERENCES[one["Type"]]


def _without_places(template: Template) -> Template:
    """The template without the files' places, and without what the CDK adds to each template."""
    copy: Template = json.loads(json.dumps(template))
    for name, _, reference in _references(copy):
        del copy["Resources"][name]["Properties"][reference]
    for one in copy["Resources"].values():
        if isinstance(one.get("DependsOn"), str):
            one["DependsOn"] = [one["DependsOn"]]
    copy["Parameters"].pop("BootstrapVersion", None)
    copy["Rules"].pop("CheckBootstrapVersion", None)
    return copy


def _kinds(resources: dict[str, Any]) -> dict[str, str]:
    """Types by name. Hashes of code end the names of versions of functions and layers."""
    return {name.rstrip("0123456789abcdef"): one["Type"] for name, one in resources.items()}
