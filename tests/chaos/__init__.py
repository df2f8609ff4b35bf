"""The chaos suite: injects faults, then checks the promises against what a run leaves behind."""
