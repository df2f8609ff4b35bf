"""The release in this installation: the built template, the files that it refers to, and the change log."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lumendrop_cli.errors import CliError

_FOLDER = Path(__file__).with_name("release_files")
# By type: the property that names a file of the release.
REFERENCES = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
    "AWS::CloudFormation::Stack": "TemplateURL",
}
_HEADING = re.compile(r"^## \[([0-9.]+)\].*$", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """What `make release` adds to the package. `files` are the artifacts; the name of each contains its hash."""

    version: str
    template: dict[str, Any]
    files: list[Path]
    changelog: str

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The declarations of the template's parameters."""
        declared: dict[str, dict[str, Any]] = self.template["Parameters"]
        return declared

    def located_template(self, bucket: str, keys: dict[str, str], url: str) -> dict[str, Any]:
        """The template with the places of the uploaded files. `keys` are by file name, `url` is the bucket's."""
        template = deepcopy(self.template)
        for resource in template["Resources"].values():
            if name := REFERENCES.get(resource["Type"]):
                key = keys[resource["Properties"][name]]
                place = f"{url}/{key}" if name == "TemplateURL" else {"Bucket": bucket, "Key": key}
                resource["Properties"][name] = place
        return template

    def changes_since(self, version: str) -> str:
        """The part of the change log after a version, up to this one."""
        headings = list(_HEADING.finditer(self.changelog))
        ends = [*(one.start() for one in headings[1:]), len(self.changelog)]
        return "".join(
            self.changelog[one.start() : end]
            for one, end in zip(headings, ends, strict=True)
            if as_numbers(version) < as_numbers(one[1]) <= as_numbers(self.version)
        ).rstrip()


def load_release() -> Release:
    """The release of this installation. Raises CliError if there is none, as in a clone."""
    if not (_FOLDER / "template.json").exists():
        raise CliError(
            "This installation has no artifacts to deploy, because it runs from a clone. Deploy with `make deploy`, or "
            "install a release: `pipx install` with its wheel, or with the one that `make release` builds."
        )
    template = json.loads((_FOLDER / "template.json").read_text(encoding="utf-8"))
    properties = [(REFERENCES.get(one["Type"]), one.get("Properties", {})) for one in template["Resources"].values()]
    return Release(
        version=template["Outputs"]["Version"]["Value"],
        template=template,
        files=[_FOLDER / found[name] for name, found in properties if name],
        changelog=(_FOLDER / "CHANGELOG.md").read_text(encoding="utf-8"),
    )


def as_numbers(version: str) -> tuple[int, ...]:
    """A version that can be compared, without what follows its numbers."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
