"""The tests of `tests/e2e/test_same_photo.py`, on ministack."""

from tests.e2e.test_same_photo import *
