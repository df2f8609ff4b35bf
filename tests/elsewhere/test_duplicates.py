"""The tests of `tests/e2e/test_duplicates.py`, on ministack."""

from tests.e2e.test_duplicates import *
