"""What the schemas of events/schemas say of an event."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).resolve().parents[1] / "events/schemas"


@cache
def validator(kind: str) -> Draft202012Validator:
    """For the events of a detail-type. Raises FileNotFoundError for one without a schema."""
    schema = json.loads((SCHEMAS / f"{kind.lower().replace(' ', '-')}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event from source lumendrop, by its schema."""
    return [f"{error.json_path}: {error.message}" for error in validator(event["detail-type"]).iter_errors(event)]
