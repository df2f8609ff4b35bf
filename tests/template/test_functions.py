"""The three functions: runtime, settings, logs, event source."""

from __future__ import annotations

import ast

import pytest

from tests.template.merged import written
from tests.template.reading import FUNCTIONS, SAM, properties, resources, translated

NAMES = {"SubmitFunction": "submit", "CheckStatusFunction": "check_status", "DeliverFunction": "deliver"}


def settings_of(name: str) -> set[str]:
    """The environment variables that a function's Settings are read from."""
    tree = ast.parse(FUNCTIONS[name].read_text())
    (settings,) = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Settings")
    return {
        one.target.id.upper()
        for one in settings.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }


def test_there_are_three_functions() -> None:
    assert set(resources("AWS::Lambda::Function")) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_runtime(name: str) -> None:
    function = properties(name)
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]
    assert function["Handler"] == "app.handler"
    assert len(function["Layers"]) == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_timeout_and_memory_are_set_for_each_function(name: str) -> None:
    own = SAM["Resources"][name]["Properties"]
    assert 0 < own["Timeout"] <= 900
    assert own["MemorySize"] >= 128


@pytest.mark.parametrize("name", FUNCTIONS)
def test_environment_is_what_the_function_reads(name: str) -> None:
    variables = properties(name)["Environment"]["Variables"]
    assert {one for one in variables if not one.startswith("POWERTOOLS_")} == settings_of(name)
    assert variables["POWERTOOLS_SERVICE_NAME"] == NAMES[name]
    # The metrics of two stacks in one account must be separate.
    assert written(variables["POWERTOOLS_METRICS_NAMESPACE"]) == "Lumendrop/${AWS::StackName}"


def test_the_template_does_not_set_the_sandboxs_settings() -> None:
    """Only the runtime of the sandbox allows plain http and 127.0.0.1 for results, never the template."""
    assert "LUMENDROP_ALLOW_LOOPBACK" not in str(translated())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_its_own_logs_with_the_configured_retention(name: str) -> None:
    group = written(properties(name)["LoggingConfig"]["LogGroup"])[2:-1]
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert properties(name)["LoggingConfig"]["LogFormat"] == "JSON"
    users = [one for one in FUNCTIONS if written(properties(one)["LoggingConfig"]["LogGroup"]) == f"${{{group}}}"]
    assert users == [name]


def test_every_log_group_has_the_configured_retention() -> None:
    for group in resources("AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_concurrency_is_reserved(name: str) -> None:
    """Reserved concurrency would move good messages to the dead-letter queue."""
    assert "ReservedConcurrentExecutions" not in properties(name)


def test_uploads_reach_submit_one_by_one_with_limited_concurrency() -> None:
    (source,) = resources("AWS::Lambda::EventSourceMapping").values()
    assert written(source["Properties"]["EventSourceArn"]) == "${UploadQueue.Arn}"
    assert written(source["Properties"]["FunctionName"]) == "${SubmitFunctionAliaslive}"
    assert source["Properties"]["BatchSize"] == 1
    assert source["Properties"]["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MaxConcurrentSubmits"}}
    assert "FilterCriteria" not in source["Properties"]


def test_lambda_allows_the_loop_in_which_uploads_wait() -> None:
    assert properties("SubmitFunction")["RecursiveLoop"] == "Allow"
    assert [name for name in FUNCTIONS if "RecursiveLoop" in properties(name)] == ["SubmitFunction"]
