"""Packaged templates: those whose code, definitions, and nested templates are in S3, as `sam package` leaves them."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.aws.template import TemplateError, parse_yaml

Read = Callable[[str, str], bytes]
"""Reads an object, given its bucket and key."""


def unpack(text: str, read: Read, folder: Path) -> Path:
    """Write a packaged template and its files into a folder, as `template.load` reads them. Returns its path.

    Raises TemplateError if a file is missing.
    """
    template = parse_yaml(text)
    for name, resource in template["Resources"].items():
        if resource["Type"] in _REFERENCES:
            reference, write = _REFERENCES[resource["Type"]]
            bucket, key = _place(resource["Properties"][reference])
            try:
                content = read(bucket, key)
            except Exception as error:
                raise TemplateError(f"{name}: s3://{bucket}/{key} can't be read: {error}") from error
            # The checksum is part of the key, and therefore of the path: other code is another package.
            path = folder / Path(key).name
            write(content, path, read)
            resource["Properties"][reference] = path.name
    path = folder / "template.json"
    path.write_text(json.dumps(template, default=str), encoding="utf-8")
    return path


def from_url(url: str) -> tuple[str, str]:
    """The bucket and the key of a URL in S3's path style."""
    bucket, _, key = urlsplit(url).path.lstrip("/").partition("/")
    return bucket, key


def _place(reference: Any) -> tuple[str, str]:
    if isinstance(reference, dict):
        return reference["Bucket"], reference["Key"]
    if reference.startswith("s3://"):
        bucket, _, key = reference.removeprefix("s3://").partition("/")
        return bucket, key
    return from_url(reference)


def _write_folder(content: bytes, path: Path, _: Read) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(path)


def _write_layer(content: bytes, path: Path, _: Read) -> None:
    """Write the layer's own modules. Its packages are for Lambda's platform; those of this machine are used instead."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        lines = [line for name in records for line in archive.read(name).decode().splitlines()]
        installed = {line.partition(",")[0].partition("/")[0] for line in lines}
        own = [name for name in archive.namelist() if name.split("/")[1] not in installed]
        archive.extractall(path.with_suffix(".layer"), own)
    (path.with_suffix(".layer") / "python").rename(path)


def _write_file(content: bytes, path: Path, _: Read) -> None:
    path.write_bytes(content)


def _write_template(content: bytes, path: Path, read: Read) -> None:
    unpack(content.decode(), read, path.parent).rename(path)


_REFERENCES: dict[str, tuple[str, Callable[[bytes, Path, Read], None]]] = {
    "AWS::Serverless::Function": ("CodeUri", _write_folder),
    "AWS::Serverless::LayerVersion": ("ContentUri", _write_layer),
    "AWS::Serverless::StateMachine": ("DefinitionUri", _write_file),
    "AWS::CloudFormation::Stack": ("TemplateURL", _write_template),
}
