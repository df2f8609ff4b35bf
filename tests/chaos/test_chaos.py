"""A short run of the suite; `make chaos` runs it at full size."""

from __future__ import annotations

import pytest

from tests.chaos import outages, suite
from tests.chaos.promises import Finding

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(600)]

SEED = 1
PATIENCE = 300


def check(findings: list[Finding]) -> None:
    broken = [f"{finding.promise}: {problem}" for finding in findings for problem in finding.broken]
    assert not broken, "\n".join([*broken, *(line for finding in findings for line in finding.lines())])


def test_promises_hold_with_random_faults() -> None:
    check(suite.random_faults(SEED, count=24, keys=18, seconds=PATIENCE))


def test_a_task_with_a_retryable_failure_is_repeated_up_to_three_tasks() -> None:
    check(suite.repeated_failures(SEED, count=6, seconds=PATIENCE))


def test_with_ambiguous_submit_retry_an_ambiguous_submit_is_repeated_once() -> None:
    check(suite.ambiguous_submits(SEED, count=8, seconds=PATIENCE))


def test_the_newest_of_concurrent_uploads_of_a_key_wins() -> None:
    check(suite.concurrent_overwrites(SEED, count=12, seconds=PATIENCE))


def test_an_empty_balance_loses_and_fails_no_upload() -> None:
    check(suite.empty_balance(SEED, count=9, seconds=PATIENCE))


def test_the_daily_limit_holds_and_processing_continues_the_next_day() -> None:
    check(suite.daily_limit(SEED, count=6, limit=3, seconds=PATIENCE))


def test_an_outage_leaves_few_uploads_unknown() -> None:
    kinds = [kind for kind in outages.VENDOR if kind.name == "502"]
    check(outages.outages(SEED, count=12, seconds=PATIENCE, kinds=kinds, longest_minutes=5))


def test_the_promised_number_of_unknown_uploads_grows_with_the_pauses() -> None:
    most = [outages.most_unknown(60 * minutes) - outages.CONCURRENT_SUBMITS for minutes in (0, 5, 30, 60)]
    assert most == [2, 8, 10, 12]
