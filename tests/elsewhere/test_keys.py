"""The tests of `tests/e2e/test_keys.py`, on ministack."""

from tests.e2e.test_keys import *
