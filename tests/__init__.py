"""The tests. Packages, so that what the tests of a directory share ends with them."""
