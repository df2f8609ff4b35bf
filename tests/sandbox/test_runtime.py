"""Functions run as Lambda runs them: warm, in parallel, with timeouts and Lambda's own errors."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.runtime import MAX_ENVIRONMENTS, Function, Pool, Throttled

STACK = Path(__file__).with_name("stack")
REPO = STACK.parents[2]
CHECKER = Function(
    logical_id="Checker",
    name="checker",
    arn="arn:aws:lambda:us-east-1:123456789012:function:checker",
    role="arn:aws:iam::123456789012:role/checker",
    handler="app.handler",
    timeout=60,
    memory=256,
    code=STACK / "checker",
    layers=(STACK / "shared",),
    log_group="/aws/lambda/checker",
    variables={"GREETING": "hello", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"},
)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def pool(log: list[str]) -> Iterator[Pool]:
    opened = Pool(CHECKER, lambda _, lines: log.extend(lines))
    yield opened
    opened.close()


def invoke(pool: Pool, **event: Any) -> Any:
    outcome = pool.invoke(json.dumps(event).encode())
    assert not outcome.failed, outcome.payload
    return json.loads(outcome.payload)


def failure(pool: Pool, **event: Any) -> Any:
    outcome = pool.invoke(json.dumps(event).encode())
    assert outcome.failed, outcome.payload
    return json.loads(outcome.payload)


def limit(pool: Pool, seconds: int) -> None:
    """Gives a function another time-out, warm environments too."""
    pool.function = replace(pool.function, timeout=seconds)
    for environment in pool._all:
        environment.function = pool.function


def running(process: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state) and not state.startswith("Z")


def test_an_environment_stays_warm_and_sees_code_layer_and_context(pool: Pool) -> None:
    first, second = invoke(pool), invoke(pool)
    assert first["word"] == "from the layer"
    assert first["arn"] == CHECKER.arn
    assert 0 < first["remaining"] <= 1000 * CHECKER.timeout
    assert (second["pid"], second["calls"]) == (first["pid"], 2)
    assert second["request"] != first["request"]


def test_concurrent_invocations_run_in_environments_of_their_own(
    pool: Pool, log: list[str], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    go_on = tmp_path / "continue"
    with ThreadPoolExecutor(12) as many:
        answers = [many.submit(invoke, pool, do="wait", until=str(go_on)) for _ in range(12)]
        eventually(lambda: len(log) == MAX_ENVIRONMENTS)
        go_on.touch()
    assert len({answer.result()["pid"] for answer in answers}) == MAX_ENVIRONMENTS


def test_a_function_is_killed_at_its_timeout_and_then_starts_again(pool: Pool, log: list[str]) -> None:
    before = invoke(pool)["pid"]
    limit(pool, 1)
    error = failure(pool, do="sleep", seconds=30)
    limit(pool, CHECKER.timeout)
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert any(line.endswith("Task timed out after 1.00 seconds") for line in log)
    assert not running(before)
    assert invoke(pool)["calls"] == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "Runtime exited with error: exit status 3"),
        (0, "Runtime exited without providing a reason"),
        (-9, "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_is_an_exit_error(pool: Pool, code: int, message: str) -> None:
    error = failure(pool, do="exit", code=code)
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith(f"Error: {message}")
    assert invoke(pool)["calls"] == 1


def test_an_exception_keeps_its_type_and_the_environment_stays_warm(pool: Pool, log: list[str]) -> None:
    before = invoke(pool)["pid"]
    error = failure(pool, do="refuse")
    assert (error["errorType"], error["errorMessage"]) == ("Refused", "no")
    assert error["stackTrace"]
    assert "[ERROR] Refused: no" in log
    assert invoke(pool)["pid"] == before


def test_an_import_that_fails_is_an_init_error() -> None:
    pool = Pool(replace(CHECKER, handler="missing.handler"), lambda *_: None)
    error = failure(pool)
    pool.close()
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'missing'" in error["errorMessage"]


def test_output_is_logged_within_its_invocation(pool: Pool, log: list[str]) -> None:
    invoke(pool, do="print", text="one\ntwo")
    assert [line.partition(" ")[0] for line in log] == ["START", "one", "two", "END", "REPORT"]


def test_functions_do_not_see_the_users_environment(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "PYTHONSTARTUP", "FOXAPI_KEY"):
        monkeypatch.setenv(name, "the user's")
    environment = invoke(pool, do="environment")
    assert "the user's" not in environment.values()
    assert environment["GREETING"] == "hello"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "checker"
    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/checker"
    assert environment["LAMBDA_TASK_ROOT"] == str(STACK / "checker")
    assert environment["_HANDLER"] == "app.handler"
    assert environment["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert environment["HOME"] != os.environ.get("HOME")


def test_closing_leaves_no_process_and_no_file(pool: Pool) -> None:
    environment = invoke(pool, do="environment")
    process = invoke(pool)["pid"]
    assert running(process)
    pool.close()
    assert not running(process)
    assert not Path(environment["TMPDIR"]).exists()


def test_reserved_concurrency_throttles(log: list[str], tmp_path: Path, eventually: Callable[..., Any]) -> None:
    pool, go_on = Pool(replace(CHECKER, reserved=1), lambda _, lines: log.extend(lines)), tmp_path / "continue"
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(invoke, pool, do="wait", until=str(go_on))
        eventually(lambda: log)
        with pytest.raises(Throttled):
            pool.invoke(b"{}")
        go_on.touch()
        slow.result()
    pool.close()


def test_functions_end_when_the_sandbox_is_killed(eventually: Callable[..., Any]) -> None:
    script = """
import time
from tests.sandbox.test_runtime import CHECKER, Pool, invoke
print(invoke(Pool(CHECKER, lambda *_: None))["pid"], flush=True)
time.sleep(60)
"""
    paths = {"PYTHONPATH": f"{REPO}"}
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, **paths}, stdout=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout is not None
        function = int(sandbox.stdout.readline())
        assert running(function)
        sandbox.send_signal(signal.SIGKILL)
        sandbox.wait()
        eventually(lambda: not running(function))


def test_a_warm_function_runs_in_the_process_that_was_started_before(pool: Pool) -> None:
    pool.warm()
    pool.warm()
    (environment,) = pool._all
    assert invoke(pool)["pid"] == environment._process.pid
    pool.close()
    pool.warm()
    assert not any(one.running for one in pool._all)
