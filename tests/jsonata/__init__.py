"""`make check-asl`: the expressions of both state machines, in the official JSONata engine and in the sandbox's."""
