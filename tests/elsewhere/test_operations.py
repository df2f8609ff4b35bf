"""The tests of `tests/e2e/test_operations.py`, on ministack."""

from tests.e2e.test_operations import *
