"""The schemas of the events are valid and strict, and the documented samples match them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from lumendrop import images, options, outcomes
from lumendrop.outcomes import Outcome
from lumendrop.storage import DeliveredObject
from lumendrop.uploads import Upload
from tests.event_schemas import SCHEMAS, problems, validator
from tests.unit.world import ROOT

DOCUMENTED = [
    json.loads(text)
    for text in re.findall(r"```json\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL)
    if "detail-type" in text
]
KINDS = [event["detail-type"] for event in DOCUMENTED]


def test_each_kind_of_event_has_a_schema_and_a_documented_sample() -> None:
    kinds = re.findall(r"DetailType: (.+)", (ROOT / "statemachines/enhance.asl.yaml").read_text())
    titles = [json.loads(path.read_text())["title"] for path in SCHEMAS.iterdir()]
    assert sorted(KINDS) == sorted(titles) == sorted(kinds)


@pytest.mark.parametrize("event", DOCUMENTED, ids=KINDS)
def test_documented_samples_match(event: dict[str, Any]) -> None:
    assert problems(event) == []


DEFECTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no detail": lambda event: event.pop("detail"),
    "another source": lambda event: event.update(source="aws.s3"),
    "a field too few": lambda event: event["detail"].pop("upload"),
    "a field too many": lambda event: event["detail"].update(link="https://example.com"),
    "a field of the upload too few": lambda event: event["detail"]["upload"].pop("key"),
    "another type": lambda event: event["detail"].update(attempt="1"),
    "no correlation id": lambda event: event["detail"].update(correlation_id="photo"),
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("event", DOCUMENTED, ids=KINDS)
def test_defects_are_found(event: dict[str, Any], defect: str) -> None:
    changed = copy.deepcopy(event)
    DEFECTS[defect](changed)
    assert problems(changed)


def properties(kind: str, *path: str) -> dict[str, Any]:
    part = validator(kind).schema["properties"]["detail"]
    for name in path:
        part = part["properties"][name]
    found: dict[str, Any] = part["properties"]
    return found


@pytest.mark.parametrize(
    ("kind", "name", "struct"),
    [
        ("Photo Enhanced", "upload", Upload),
        ("Photo Not Enhanced", "upload", Upload),
        ("Photo Enhanced", "options", options.Options),
        ("Photo Not Enhanced", "options", options.Options),
        ("Photo Enhanced", "output", DeliveredObject),
        ("Photo Not Enhanced", "outcome", Outcome),
    ],
)
def test_schemas_have_the_fields_of_the_code(kind: str, name: str, struct: Any) -> None:
    assert list(properties(kind, name)) == [field.encode_name for field in msgspec.structs.fields(struct)]


def test_schemas_have_the_values_of_the_code() -> None:
    assert properties("Photo Enhanced", "output")["format"]["enum"] == [one.name for one in images.FORMATS]
    assert properties("Photo Not Enhanced", "outcome")["status"]["enum"] == list(get_args(outcomes.Status))
