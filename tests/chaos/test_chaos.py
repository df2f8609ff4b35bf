"""A small run of the suite; `make chaos` runs the large one."""

from __future__ import annotations

import pytest

from tests.chaos import suite
from tests.chaos.promises import Finding

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(600)]

SEED = 1
PATIENCE = 300


def kept(findings: list[Finding]) -> None:
    broken = [f"{finding.promise}: {problem}" for finding in findings for problem in finding.broken]
    assert not broken, "\n".join([*broken, *(line for finding in findings for line in finding.lines())])


def test_the_promises_hold_in_bad_weather() -> None:
    kept(suite.storm(SEED, count=24, keys=18, seconds=PATIENCE))


def test_a_failed_task_is_tried_again_three_tasks_at_most() -> None:
    kept(suite.relapses(SEED, count=6, seconds=PATIENCE))


def test_an_ambiguous_submit_is_sent_again_once_where_the_owner_wants_it() -> None:
    kept(suite.second_chances(SEED, count=8, seconds=PATIENCE))


def test_the_newest_of_uploads_that_race_for_a_key_wins() -> None:
    kept(suite.rivals(SEED, count=12, seconds=PATIENCE))


def test_an_empty_balance_loses_and_fails_nothing() -> None:
    kept(suite.balance(SEED, count=9, seconds=PATIENCE))


def test_the_daily_limit_holds_and_work_goes_on_the_next_day() -> None:
    kept(suite.daily_limit(SEED, count=6, limit=3, seconds=PATIENCE))
