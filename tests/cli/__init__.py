"""Tests of the `lumendrop` command against a running sandbox."""
