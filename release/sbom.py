"""A CycloneDX bill of materials: every package that the lock files name, with its hashes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

Component = dict[str, Any]

_PACKAGE = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill_of_materials(name: str, version: str, locks: dict[str, Path]) -> dict[str, Any]:
    """The bill of a release. `locks` has the lock file of each part, such as the layer."""
    root = {"type": "application", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
    found: dict[str, Component] = {}
    for part, lock in locks.items():
        for component in _components(lock.read_text(encoding="utf-8")):
            known = found.setdefault(component["bom-ref"], component | {"properties": []})
            known["properties"].append({"name": "lumendrop:part", "value": part})
    components = [found[reference] for reference in sorted(found)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same contents have the same number, and no time: a release can be built again.
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, ' '.join([root['purl'], *sorted(found)]))}",
        "version": 1,
        "metadata": {"component": root | {"bom-ref": root["purl"]}},
        "components": components,
    }


def _components(lock: str) -> Iterator[Component]:
    """The packages of a lock file. The lines of a package end with a backslash, except the last one."""
    for line in lock.replace("\\\n", " ").splitlines():
        if match := _PACKAGE.match(line):
            name, version = match.groups()
            purl = f"pkg:pypi/{name.lower()}@{version}"
            files = [
                {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": one}]}
                for one in sorted(_HASH.findall(line))
            ]
            yield {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
                "externalReferences": files,
            }
