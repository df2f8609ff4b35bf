"""The tests of `tests/e2e/test_enhancer_errors.py`, on ministack."""

from tests.e2e.test_enhancer_errors import *
