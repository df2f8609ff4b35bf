"""The tests of `tests/e2e/test_backfill.py`, on ministack."""

from tests.e2e.test_backfill import *
