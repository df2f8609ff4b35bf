"""The `lumendrop` command: operates a deployed stack, on AWS or in the sandbox."""
