"""The saved log queries use messages and fields that the functions log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.template.merged import written
from tests.template.reading import FUNCTIONS, ROOT, resources

WORDS = {"fields", "filter", "stats", "sort", "limit", "asc", "desc", "by", "as", "in", "and", "or", "not"}
# https://docs.aws.amazon.com/powertools/python/latest/core/logger/#standard-structured-keys
STANDARD = {"level", "location", "message", "timestamp", "service", "exception_name", "exception", "correlation_id"}
LEVELS = {"debug", "info", "warning", "error", "exception"}

Query = tuple[str, set[str]]


@cache
def queries() -> dict[str, Query]:
    """The text of each query, and the functions whose logs it reads."""
    found = {}
    for name, one in resources("AWS::Logs::QueryDefinition").items():
        groups = {written(group)[2:-1] for group in one["Properties"]["LogGroupNames"]}
        functions = {group.removesuffix("Logs") + "Function" for group in groups}
        assert functions <= set(FUNCTIONS)
        found[name] = (one["Properties"]["QueryString"], functions)
    return found


def problems(text: str, functions: set[str]) -> list[str]:
    """The messages and fields of a query that none of its functions logs."""
    logged = [_logged(name) for name in functions]
    messages, fields = set().union(*(one[0] for one in logged)), set().union(*(one[1] for one in logged))
    named = set(re.findall(r'message !?= "([^"]*)"', text))
    used = set(re.findall(r"(?<![@\w])[a-z_]\w*(?!\w*\()", re.sub(r'"[^"]*"', "", text)))
    own = set(re.findall(r" as (\w+)", text))
    return sorted((named - messages) | (used - own - WORDS - STANDARD - fields))


@cache
def _logged(function: str) -> tuple[set[str], set[str]]:
    """The messages and the fields that a function or the layer logs."""
    trees = [ast.parse(path.read_text()) for path in (FUNCTIONS[function], *(ROOT / "layers/lumendrop").glob("*.py"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    messages = {message for call in calls for message in _messages(call)}
    fields = {keyword.arg for call in calls if _name(call) == "log_context" for keyword in call.keywords if keyword.arg}
    dictionaries = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    fields |= {str(key.value) for one in dictionaries for key in one.keys if isinstance(key, ast.Constant)}
    return messages, fields


def _messages(call: ast.Call) -> Iterator[str]:
    if _name(call) in LEVELS and call.args and isinstance(call.args[0], ast.Constant):
        yield str(call.args[0].value)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("name", ["OneUploadQuery", "WaitingQuery", "ErrorsQuery", "SlowestQuery"])
def test_a_query_uses_what_its_functions_log(name: str) -> None:
    assert problems(*queries()[name]) == []


def test_there_are_four_queries() -> None:
    assert len(queries()) == 4


DEFECTS = {
    "a message that is not logged": ("SlowestQuery", '"delivered"', '"sent"', "sent"),
    "a field that is not logged": ("SlowestQuery", "bytes", "size_in_bytes", "size_in_bytes"),
    "a field within a function": ("WaitingQuery", "latest(upload)", "latest(photo_name)", "photo_name"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    query, before, after, wanted = DEFECTS[name]
    text, functions = queries()[query]
    assert before in text
    assert problems(text.replace(before, after), functions) == [wanted]


def test_a_message_of_another_function_is_found() -> None:
    text, _ = queries()["SlowestQuery"]
    assert "delivered" in problems(text, {"CheckStatusFunction"})
