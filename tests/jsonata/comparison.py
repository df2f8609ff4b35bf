"""Where two engines disagree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.jsonata.recording import Evaluation, Recorder, Result, as_written

# Expressions, as the definitions have them, whose results differ, each with the reason why that does no harm.
KNOWN: dict[str, str] = {}


def problems(
    recorder: Recorder, official: Mapping[Evaluation, Result], known: Mapping[str, str] = KNOWN
) -> Iterator[str]:
    """What is wrong: results that differ, expressions that no scenario evaluates, and known differences that ended."""
    differing = set()
    for evaluation, result in recorder.evaluations.items():
        if is_same(official[evaluation], result):
            continue
        expression = as_written(evaluation.expression)
        differing.add(expression)
        if expression not in known:
            yield (
                f"Different: {expression}\n  variables: {evaluation.variables}\n"
                f"  official: {json.dumps(official[evaluation])}\n  sandbox:  {json.dumps(result)}"
            )
    evaluated = {as_written(one.expression) for one in recorder.evaluations}
    yield from (f"Never evaluated: {one}" for one in sorted(recorder.expressions - evaluated))
    yield from (f"Not different any more: {one}" for one in sorted(set(known) - differing))


def is_same(official: Any, sandbox: Any) -> bool:
    """Whether two results are the same JSON. 1 and 1.0 are, true and 1 are not. The texts of errors may differ."""
    if isinstance(official, dict) and isinstance(sandbox, dict):
        if "error" in official and "error" in sandbox:
            return True
        return set(official) == set(sandbox) and all(is_same(official[name], sandbox[name]) for name in official)
    if isinstance(official, list) and isinstance(sandbox, list):
        return len(official) == len(sandbox) and all(map(is_same, official, sandbox))
    return isinstance(official, bool) == isinstance(sandbox, bool) and bool(official == sandbox)
