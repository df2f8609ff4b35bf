"""Evaluation of IAM policy documents.

Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """May `principal` do `action` on `resource`? `context` holds condition keys in lower case.

    `principal` is the ARN of a role, or the name of a service such as events.amazonaws.com.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def statements(document: str | Mapping[str, Any]) -> list[Statement]:
    """The statements of a policy document, given as JSON text or as its parsed value."""
    found = (json.loads(document) if isinstance(document, str) else document)["Statement"]
    return found if isinstance(found, list) else [found]


def allowed(policy: Iterable[Statement], question: Question) -> bool:
    """Whether a statement allows it and no statement denies it."""
    return bool(granting(policy, question))


def granting(policy: Iterable[Statement], question: Question) -> list[Statement]:
    """The statements that allow it; none if a statement denies it."""
    applying = [statement for statement in policy if _applies(statement, question)]
    return [] if any(one["Effect"] == "Deny" for one in applying) else applying


def actions(statement: Statement, action: str) -> list[str]:
    """The statement's actions, as written, that match this action."""
    return [one for one in _texts(statement.get("Action", [])) if _like(one.lower(), action.lower())]


def _applies(statement: Statement, question: Question) -> bool:
    return (
        _covers(statement, "Action", lambda pattern: _like(pattern.lower(), question.action.lower()))
        and _covers(statement, "Resource", lambda pattern: _like(pattern, question.resource))
        and _names(statement.get("Principal"), question.principal)
        and all(
            _condition(operator, key, _texts(wanted), question.context)
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def _covers(statement: Statement, element: str, matches: Callable[[str], bool]) -> bool:
    if f"Not{element}" in statement:
        return not any(map(matches, _texts(statement[f"Not{element}"])))
    # A trust policy has no Resource.
    return any(map(matches, _texts(statement.get(element, "*"))))


def _names(principals: Any, principal: str) -> bool:
    """Whether a statement applies to the principal; without a Principal it belongs to a role's own policy."""
    if principals is None or principals == "*":
        return True
    if "amazonaws.com" in principal:
        return principal in _texts(principals.get("Service", []))
    account = principal.split(":")[4]
    known = {"*", principal, account, f"arn:aws:iam::{account}:root"}
    return not known.isdisjoint(_texts(principals.get("AWS", [])))


def _condition(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    name = operator.removesuffix("IfExists")
    if name not in _OPERATORS:
        raise UnknownOperator(operator)
    actual = context.get(key.lower())
    negated = "Not" in name
    if actual is None:
        return negated or name != operator
    holds = any(_OPERATORS[name](want, actual) for want in wanted)
    return holds != negated


class UnknownOperator(ValueError):
    """A policy uses a condition operator that the sandbox does not support."""


def _like(pattern: str, text: str) -> bool:
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def _same(pattern: str, text: str) -> bool:
    return pattern == text


def _same_but_for_case(pattern: str, text: str) -> bool:
    return pattern.lower() == text.lower()


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _same,
    "StringNotEquals": _same,
    "StringEqualsIgnoreCase": _same_but_for_case,
    "StringLike": _like,
    "StringNotLike": _like,
    "ArnEquals": _like,
    "ArnNotEquals": _like,
    "ArnLike": _like,
    "ArnNotLike": _like,
    "Bool": _same_but_for_case,
}


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
