"""The error bodies of the enhancer's contract."""

from starlette.responses import JSONResponse

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found",
    405: "invalid_request_error",
    410: "not_found",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}


class ApiError(Exception):
    """Ends a request with an error body; `code` if the contract defines one."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def error_response(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """`{"error": {"message": …, "type": …, "code"?: …}}`, where the type depends on the status and the code."""
    no_channel = code == "no_compatible_channel"
    error = {"message": message, "type": ERROR_TYPES.get(503 if no_channel else status, "server_error")}
    if code is not None:
        error["code"] = code
    return JSONResponse({"error": error}, status, headers)
