"""The tests of `tests/e2e/test_photos.py`, on ministack."""

from tests.e2e.test_photos import *
