"""The owner's command line: looks after a deployed stack, on AWS or in the sandbox."""
