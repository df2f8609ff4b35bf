"""The tests of `tests/e2e/test_logs.py`, on ministack."""

from tests.e2e.test_logs import *
