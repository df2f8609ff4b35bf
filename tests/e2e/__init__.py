"""End-to-end tests of the running stack. A package, so that its sandbox closes before another one opens."""
