"""`make check-asl` finds what differs, what was never evaluated, and known differences that have ended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.jsonata.comparison import is_same, problems
from tests.jsonata.recording import Evaluation, Recorder, as_written

ONE = Evaluation("$x", '{"x": 1}', 0)


def recorder(**result: Any) -> Recorder:
    found = Recorder()
    found.expressions = {"$x"}
    found.evaluations = {ONE: result}
    return found


@pytest.mark.parametrize(
    ("official", "sandbox"),
    [
        ({"value": 1}, {"value": 1.0}),
        ({"value": {"a": [1, "x", None, True], "b": {}}}, {"value": {"b": {}, "a": [1, "x", None, True]}}),
        ({"error": "T2001 The left side …"}, {"error": "can't multiply"}),
        ({"undefined": True}, {"undefined": True}),
    ],
)
def test_equal_results(official: Any, sandbox: Any) -> None:
    assert is_same(official, sandbox)


@pytest.mark.parametrize(
    ("official", "sandbox"),
    [
        ({"value": 1}, {"value": True}),
        ({"value": 1}, {"value": "1"}),
        ({"value": None}, {"undefined": True}),
        ({"value": []}, {"undefined": True}),
        ({"value": [1]}, {"value": 1}),
        ({"value": [1, 2]}, {"value": [2, 1]}),
        ({"value": {"a": 1}}, {"value": {"a": 1, "b": None}}),
        ({"value": "ü"}, {"value": "\\u00fc"}),
        ({"error": "T2001"}, {"value": 1}),
    ],
)
def test_different_results(official: Any, sandbox: Any) -> None:
    assert not is_same(official, sandbox)
    assert not is_same(sandbox, official)
    (problem,) = problems(recorder(**sandbox), {ONE: official})
    assert problem.startswith("Different: $x")
    assert list(problems(recorder(**sandbox), {ONE: official}, {"$x": "a reason"})) == []


def test_a_known_difference_that_ended_is_found() -> None:
    assert list(problems(recorder(value=1), {ONE: {"value": 1}}, {"$x": "a reason"})) == ["Not different any more: $x"]


def test_an_expression_that_no_scenario_evaluates_is_found() -> None:
    found = recorder(value=1)
    found.expressions.add("$y")
    assert list(problems(found, {ONE: {"value": 1}})) == ["Never evaluated: $y"]


def test_the_names_of_buckets_are_those_of_the_definitions() -> None:
    assert as_written("{'name': 'lumendrop-inputbucket-a1b2'}") == "{'name': '${InputBucket}'}"
