"""What `lumendrop deploy` uploads, written next to a template that names it. The same build gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from lumendrop_cli.release import REFERENCES
from sandbox.aws.template import parse_yaml

Template = dict[str, Any]

TEMPLATE = "template.json"
# A zip has no time zones and starts in 1980. Lambda needs files that everybody can read.
_TIME, _MODE = (1980, 1, 1, 0, 0, 0), 0o100644 << 16
_UNIX = 3


class ReleaseError(Exception):
    """The build can't be released. The message says what to do."""


def read_template(build: Path) -> Template:
    """The template of a build."""
    return _read(build / "template.yaml")


def write_artifacts(build: Path, template: Template, target: Path) -> None:
    """Write the template, with all files of the build that it refers to, into the folder `target`."""
    for name, resource in template["Resources"].items():
        # What SAM writes about the build, such as paths.
        resource.pop("Metadata", None)
        _write_artifact(name, resource, build, target)
    (target / TEMPLATE).write_text(_to_json(template), encoding="utf-8")


def _write_artifact(name: str, resource: dict[str, Any], build: Path, target: Path) -> None:
    if resource["Type"] not in REFERENCES:
        return
    reference = REFERENCES[resource["Type"]]
    pack, extension = _ARTIFACTS[resource["Type"]]
    content = pack(build / resource["Properties"][reference])
    file = f"{name}-{hashlib.sha256(content).hexdigest()}.{extension}"
    (target / file).write_bytes(content)
    resource["Properties"][reference] = file


def require_bytecode(build: Path) -> None:
    """Raise ReleaseError if Lambda would have to compile the layer."""
    if not any(build.glob("LumendropLayer/python/lumendrop/__pycache__/*.cpython-313.pyc")):
        raise ReleaseError(
            "The layer has no bytecode, so cold starts would take much longer. Put python3.13 on the path, remove "
            ".aws-sam, and run it again."
        )


def zip_folder(folder: Path) -> bytes:
    """A zip of the folder's files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """A zip of these contents by name, without times and modes of their own."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr, entry.create_system = _MODE, _UNIX
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def _nested_template(path: Path) -> bytes:
    return _to_json(_read(path)).encode()


def _read(path: Path) -> Template:
    template: Template = parse_yaml(path.read_text(encoding="utf-8"))
    return template


def _to_json(template: Template) -> str:
    # Without line breaks, it is a third smaller. YAML can have dates, which are texts in a template.
    return json.dumps(template, separators=(",", ":"), default=str)


# By type: how the file that a resource refers to is packed, and its extension.
_ARTIFACTS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "AWS::Serverless::Function": (zip_folder, "zip"),
    "AWS::Serverless::LayerVersion": (zip_folder, "zip"),
    # Not as JSON: `${Substitutions}` without quotes are numbers.
    "AWS::Serverless::StateMachine": (Path.read_bytes, "asl.yaml"),
    "AWS::CloudFormation::Stack": (_nested_template, "json"),
}
