"""A DynamoDB table in memory: the calls and the expressions that the functions and the workflow use, and no others.

Its state is a plain dictionary of items that are never changed in place, so a copy of the dictionary is a snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

Item = Mapping[str, Any]
Rows = dict[tuple[str, str], Item]
Test = Callable[[Item, Mapping[str, Any]], bool]

_TOKEN = re.compile(r"\s*(\(|\)|,|<=|>=|<>|=|<|>|[#:]?\w+)")


class TransactionCanceledException(ClientError):
    """What boto3 raises when a transaction is refused."""


class Table:
    """Takes the place of boto3's DynamoDB client."""

    exceptions = SimpleNamespace(TransactionCanceledException=TransactionCanceledException)

    def __init__(self, rows: Rows | None = None) -> None:
        self.rows: Rows = rows if rows is not None else {}

    def get_item(self, *, Key: Item, **_: Any) -> dict[str, Any]:  # noqa: N803  # DynamoDB's names, here and below
        item = self.rows.get(_key(Key))
        return {} if item is None else {"Item": dict(item)}

    def put_item(self, **put: Any) -> dict[str, Any]:
        self._require(put, _key(put["Item"]))
        self.rows[_key(put["Item"])] = dict(put["Item"])
        return {}

    def update_item(self, **update: Any) -> dict[str, Any]:
        self._require(update, _key(update["Key"]))
        self._update(update)
        return {}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        operations = [(kind, one) for item in TransactItems for kind, one in item.items()]
        keys = [_key(one.get("Key") or one["Item"]) for _, one in operations]
        assert len(set(keys)) == len(keys), "DynamoDB refuses several operations on one item"
        reasons = [self._reason(one) for _, one in operations]
        if any(reason["Code"] != "None" for reason in reasons):
            raise TransactionCanceledException(
                {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons},  # type: ignore[typeddict-unknown-key]  # as boto3 adds it
                "TransactWriteItems",
            )
        for kind, one in operations:
            if kind == "Put":
                self.rows[_key(one["Item"])] = dict(one["Item"])
            elif kind == "Delete":
                self.rows.pop(_key(one["Key"]), None)
            elif kind == "Update":
                self._update(one)
            else:
                assert kind == "ConditionCheck"
        return {}

    def _reason(self, operation: dict[str, Any]) -> dict[str, Any]:
        found = self.rows.get(_key(operation.get("Key") or operation["Item"]))
        if _holds(operation, found or {}):
            return {"Code": "None"}
        wanted = operation.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and found is not None
        return {"Code": "ConditionalCheckFailed"} | ({"Item": dict(found or {})} if wanted else {})

    def _require(self, operation: dict[str, Any], key: tuple[str, str]) -> None:
        found = self.rows.get(key)
        if not _holds(operation, found or {}):
            response: Any = {"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}
            if operation.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and found is not None:
                response["Item"] = dict(found)
            raise ClientError(response, "PutItem")

    def _update(self, update: dict[str, Any]) -> None:
        key = _key(update["Key"])
        item = dict(self.rows.get(key) or update["Key"])
        names, values = update.get("ExpressionAttributeNames", {}), update.get("ExpressionAttributeValues", {})
        for clause in re.finditer(r"(SET|REMOVE|ADD)\s+(.+?)(?=\s+(?:SET|REMOVE|ADD)\s|$)", update["UpdateExpression"]):
            for part in clause[2].split(","):
                words = part.replace("=", " ").split()
                name = names.get(words[0], words[0])
                match clause[1]:
                    case "SET":
                        item[name] = values[words[1]]
                    case "REMOVE":
                        item.pop(name, None)
                    case "ADD":
                        total = int(item.get(name, {"N": "0"})["N"]) + int(values[words[1]]["N"])
                        item[name] = {"N": str(total)}
        self.rows[key] = item


def _key(key: Item) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]


def _holds(operation: Mapping[str, Any], item: Item) -> bool:
    expression = operation.get("ConditionExpression")
    if expression is None:
        return True
    names = tuple(sorted(operation.get("ExpressionAttributeNames", {}).items()))
    return _compiled(expression, names)(item, operation.get("ExpressionAttributeValues", {}))


@cache
def _compiled(expression: str, names: tuple[tuple[str, str], ...]) -> Test:
    parser = _Parser(expression, dict(names))
    test = parser.any_of()
    if parser.tokens:
        raise ValueError(f"not understood: {' '.join(parser.tokens)} in {expression}")
    return test


class _Parser:
    """Recursive descent over OR, AND, NOT, comparisons, IN, attribute_exists, and attribute_not_exists."""

    def __init__(self, expression: str, names: Mapping[str, str]) -> None:
        self.tokens = _TOKEN.findall(expression)
        self._names = names

    def any_of(self) -> Test:
        tests = [self._all_of()]
        while self._next_is("OR"):
            tests.append(self._all_of())
        return lambda item, values: any(test(item, values) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._next_is("AND"):
            tests.append(self._one())
        return lambda item, values: all(test(item, values) for test in tests)

    def _one(self) -> Test:
        if self._next_is("NOT"):
            test = self._one()
            return lambda item, values: not test(item, values)
        if self._next_is("("):
            test = self.any_of()
            self._expect(")")
            return test
        first = self.tokens.pop(0)
        if first in ("attribute_exists", "attribute_not_exists"):
            self._expect("(")
            name, wanted = self._name(self.tokens.pop(0)), first == "attribute_exists"
            self._expect(")")
            return lambda item, _: (name in item) is wanted
        return self._comparison(self._name(first))

    def _comparison(self, name: str) -> Test:
        operator = self.tokens.pop(0)
        if operator == "IN":
            self._expect("(")
            listed = [self.tokens.pop(0)]
            while self._next_is(","):
                listed.append(self.tokens.pop(0))
            self._expect(")")
            return lambda item, values: name in item and any(item[name] == values[one] for one in listed)
        value = self.tokens.pop(0)
        compare: dict[str, Callable[[Any, Any], bool]] = {
            "=": lambda one, other: one == other,
            "<>": lambda one, other: one != other,
            "<": lambda one, other: one < other,
            ">": lambda one, other: one > other,
            "<=": lambda one, other: one <= other,
            ">=": lambda one, other: one >= other,
        }
        return lambda item, values: name in item and compare[operator](_plain(item[name]), _plain(values[value]))

    def _name(self, token: str) -> str:
        return self._names.get(token, token)

    def _next_is(self, token: str) -> bool:
        if self.tokens[:1] == [token]:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._next_is(token):
            raise ValueError(f"{token} expected before {' '.join(self.tokens)}")


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return float(content) if kind == "N" else content
