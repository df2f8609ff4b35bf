"""`lumendrop destroy`, on a sandbox of its own. A package, so that its fixtures are made once."""
