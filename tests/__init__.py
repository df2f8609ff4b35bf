"""The tests. Packages, so that the shared fixtures of a directory end with its last test."""
