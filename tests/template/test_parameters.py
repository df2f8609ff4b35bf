"""The parameters, and the values that they accept."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop import options
from sandbox.aws.template import TemplateError, load
from tests.template.reading import PARAMETERS, REGION, TEMPLATE

CONSTRAINTS = {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue", "MinLength", "MaxLength"}

ACCEPTED = {
    "ApiBaseUrl": [
        "https://api.foxapi.cc",
        "https://gateway.example.com:8443",
        "https://example.com/fox/v2",
        "http://127.0.0.1:8080",
    ],
    "Resolution": ["1K", "4K"],
    "Creativity": ["", "0", "1", "0.0", "1.0", "0.35", ".5", "1.000"],
    "Resemblance": ["", "0", "1", "0.0", "1.0", "0.35", ".5", "1.000"],
    "ProfileIds": ["", "one", "one,two", "one , two,three-3_4", ",".join(["p" * 4] * 20), "p" * 103 + "," + "p" * 6],
    "Metadata": ["keep", "no-location", "none"],
    "EnhancementLabel": ["write", "omit"],
    "InputPrefix": ["", "incoming/", "ü ö/+%", "p" * 512],
    "MaxUploadBytes": ["1024", "52428800", "1073741824"],
    "LargerThanResult": ["enhance", "reject"],
    "SamePhoto": ["reuse", "pay"],
    "DailyTaskLimit": ["1", "1000000"],
    "TaskPriceUsd": ["0", "0.12", "1.5"],
    "SweepSchedule": ["", "rate(1 day)", "cron(0 3 * * ? *)"],
    "MaxConcurrentSubmits": ["2", "1000"],
    "MaxWaitMinutes": ["1", "1440"],
    "AmbiguousSubmit": ["park", "retry"],
    "AlarmEmail": ["", "owner@example.com", "a+b@c.d"],
    "HeartbeatHours": ["0", "24", "168"],
    "PhotoNotices": ["none", "topic"],
    "CompletionTarget": [
        "",
        "arn:aws:lambda:eu-central-1:123456789012:function:after-photos:live",
        "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:after_photos",
        "arn:aws:sns:us-east-1:123456789012:after-photos",
        "arn:aws:states:us-east-1:123456789012:stateMachine:after-photos",
        "arn:aws:events:us-east-1:123456789012:event-bus/after-photos",
    ],
    "LogRetentionDays": ["1", "3653"],
    "Deployment": ["canary", "all-at-once"],
    "ExistingInputBucket": ["", "photos", "photos-2026-in", "a" * 63],
    "ExistingOutputBucket": ["", "photos", "photos-2026-out", "a" * 63],
    "ExistingLedgerTable": ["", "lumendrop-LedgerTable-1A2B3C4D5E6F7", f"{'s' * 128}-LedgerTable-RESTORED"],
    "KmsKey": ["", "create", "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f"],
    "PermissionsBoundary": [
        "",
        "arn:aws:iam::123456789012:policy/boundary",
        "arn:aws-cn:iam::123456789012:policy/team/boundary-1",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ],
}
REJECTED = {
    "ApiBaseUrl": [
        "",
        "api.foxapi.cc",
        "http://api.foxapi.cc",
        "https://api.foxapi.cc/",
        "https://user:password@api.foxapi.cc",
        "https://api.foxapi.cc?key=1",
        "https://api.foxapi.cc\n",
        "http://127.0.0.1",
        "http://127.0.0.1.example.com:80",
        "ftp://api.foxapi.cc",
        f"https://{'a' * 57}",
    ],
    "Resolution": ["", "2K", "4k"],
    "Creativity": ["1.1", "2", "-0.1", "0,5", "half", "1.01", " ", "."],
    "Resemblance": ["1.1", "2", "-0.1", "0,5", "half", "1.01", " ", "."],
    "ProfileIds": [
        ",",
        "one,",
        ",one",
        "one two",
        "one;two",
        "p" * 111,
        ",".join(["p"] * 21),
        "p" * 103 + "," + "p" * 7,
    ],
    "Metadata": ["", "Keep", "no_location"],
    "EnhancementLabel": ["", "true", "none"],
    "InputPrefix": ["p" * 513, 'a"b/', "a\\b/", "{% 1 %}"],
    "MaxUploadBytes": ["1023", "1073741825", "50MB", ""],
    "LargerThanResult": ["", "Reject", "smaller"],
    "SamePhoto": ["", "copy", "Pay"],
    "DailyTaskLimit": ["0", "-1", "1000001"],
    "TaskPriceUsd": ["", "-0.01", "free"],
    "SweepSchedule": ["nightly", "rate()", "1 day", "cron(0 3 * * ? *) "],
    "MaxConcurrentSubmits": ["1", "1001"],
    "MaxWaitMinutes": ["0", "1441"],
    "AmbiguousSubmit": ["", "Park", "never"],
    "AlarmEmail": ["owner", "@", "a b@c.d", "a@b@c", "a@b.c,d@e.f g"],
    "HeartbeatHours": ["", "-1", "169"],
    "PhotoNotices": ["", "Topic", "yes"],
    "CompletionTarget": [
        "after-photos",
        "arn:aws:s3:::photos",
        "arn:aws:sqs:us-east-1:123456789012:after-photos.fifo",
        "arn:aws:kinesis:us-east-1:123456789012:stream/photos",
    ],
    "LogRetentionDays": ["0", "2", "31"],
    "Deployment": ["", "Canary", "Canary10Percent5Minutes"],
    "ExistingInputBucket": ["ab", "a" * 64, "photos.example.com", "Photos", "-photos", "s3://photos", "photos/"],
    "ExistingOutputBucket": ["ab", "a" * 64, "photos.example.com", "Photos", "-photos", "s3://photos", "photos/"],
    "ExistingLedgerTable": [
        "ledger",
        "lumendrop-LedgerTable-",
        "lumendrop-LedgerTable-1a2b",
        "arn:aws:dynamodb:us-east-1:123456789012:table/lumendrop-LedgerTable-1A2B",
        f"lumendrop-LedgerTable-{'A' * 17}",
    ],
    "KmsKey": ["alias/photos", "arn:aws:kms:eu-central-1:123456789012:alias/photos", "yes"],
    "PermissionsBoundary": ["boundary", "arn:aws:iam::123456789012:role/boundary", "arn:aws:iam::1:policy/boundary"],
}


def _pairs(table: dict[str, list[str]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}={value[:30]!r}") for name in table for value in table[name]]


def test_the_tables_know_every_parameter() -> None:
    assert set(PARAMETERS) == set(ACCEPTED) == set(REJECTED)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_has_a_description_a_constraint_and_a_default(name: str) -> None:
    parameter = PARAMETERS[name]
    assert re.search(r"\w[.]?$", parameter["Description"])
    assert CONSTRAINTS & set(parameter)
    assert "Default" in parameter
    assert "NoEcho" not in parameter
    if "AllowedPattern" in parameter:
        assert parameter["ConstraintDescription"].startswith("must be")


def test_the_documentation_has_every_parameter_with_its_default() -> None:
    """A word describes a default that is empty or switches something off."""
    page = (TEMPLATE.parent / "docs/deploy.md").read_text()
    stated = {
        name: default.replace("`", "")
        for names, default in re.findall(r"^\| (`[A-Z][^|]*) \| ([^|]*) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    for name, parameter in PARAMETERS.items():
        default = str(parameter["Default"])
        assert re.match(rf"{re.escape(default)}\b" if default not in ("", "0") else r"\D", stated[name]), name


def test_the_defaults_satisfy_their_own_constraints() -> None:
    load(TEMPLATE, {}, REGION)


@pytest.mark.parametrize(("name", "value"), _pairs(ACCEPTED))
def test_accepted(name: str, value: str) -> None:
    assert _accepts(name, value)


@pytest.mark.parametrize(("name", "value"), _pairs(REJECTED))
def test_rejected(name: str, value: str) -> None:
    assert not _accepts(name, value)


def _accepts(name: str, value: str) -> bool:
    """CloudFormation's rules: a pattern must match the whole value."""
    parameter = PARAMETERS[name]
    if parameter["Type"] == "Number":
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            return False
        return _fits(float(value), parameter, "Value") and _is_allowed(float(value), parameter)
    pattern = parameter.get("AllowedPattern", "(?s:.*)")
    return (
        bool(re.fullmatch(pattern, value)) and _fits(len(value), parameter, "Length") and _is_allowed(value, parameter)
    )


def _fits(size: float, parameter: dict[str, Any], what: str) -> bool:
    return float(parameter.get(f"Min{what}", size)) <= size <= float(parameter.get(f"Max{what}", size))


def _is_allowed(value: object, parameter: dict[str, Any]) -> bool:
    return value in parameter.get("AllowedValues", [value])


@pytest.mark.parametrize(
    ("parameter", "option"),
    [("Creativity", "creativity"), ("Resemblance", "resemblance"), ("ProfileIds", "profile_ids")],
)
def test_submit_can_parse_what_the_template_accepts(parameter: str, option: str) -> None:
    """Otherwise, submit could not start, and every upload would go to the dead-letter queue."""
    for value in ACCEPTED[parameter]:
        empty: Any = dict.fromkeys(("creativity", "resemblance", "profile_ids", "metadata"), "")
        options.defaults(SimpleNamespace(**{**empty, "resolution": "4K", option: value}))


def test_a_wrong_value_is_rejected_with_a_readable_message() -> None:
    with pytest.raises(TemplateError, match=r"must be empty or a number from 0\.0 to 1\.0"):
        load(TEMPLATE, {"Creativity": "1.1"}, REGION)


def test_one_bucket_for_both_is_rejected() -> None:
    """Otherwise, every enhanced photo would be enhanced and paid for again, up to the daily limit."""
    with pytest.raises(TemplateError, match="must not be the same bucket"):
        load(TEMPLATE, {"ExistingInputBucket": "photos", "ExistingOutputBucket": "photos"}, REGION)


def test_no_default_is_a_float_which_the_sam_cli_can_not_build() -> None:
    """`sam build` 1.x ends with a traceback if an output has the name of such a parameter."""
    assert [name for name, one in PARAMETERS.items() if isinstance(one.get("Default"), float)] == []
