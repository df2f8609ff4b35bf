"""The tests of `tests/e2e/test_rejections.py`, on ministack."""

from tests.e2e.test_rejections import *
