"""Tests of `lumendrop enhance` against a running sandbox."""
