"""Builds a release from the output of `make build`: `make release`."""
