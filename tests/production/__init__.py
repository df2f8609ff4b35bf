"""Tests of the stack with the settings of a production account. A package, so that its fixtures are created once."""
