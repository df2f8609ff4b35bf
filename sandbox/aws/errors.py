"""Errors that a caller of `Cloud` can get."""


class CloudError(Exception):
    """The cloud can't start. The message names the cause and the remedy."""


class FunctionFailed(Exception):
    """A function ended in an error; `kind` is its errorType."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
