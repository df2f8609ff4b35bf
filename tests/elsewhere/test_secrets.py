"""The tests of `tests/e2e/test_secrets.py`, on ministack."""

from tests.e2e.test_secrets import *
