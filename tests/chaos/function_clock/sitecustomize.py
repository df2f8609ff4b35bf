"""Python imports this module when a function's process starts, so that its clock and network follow the run."""

import mmap
import os
import socket
import ssl
import struct
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, SupportsIndex

_SKIPPED, _ADDRESS = Path(os.environ.pop("CHAOS_CLOCK")), os.environ.pop("CHAOS_SLEEP")
_NETWORK = Path(os.environ.pop("CHAOS_NETWORK"))
_real, _monotonic = time.time, time.monotonic
_resolve = socket.getaddrinfo


def _sleep(seconds: float | SupportsIndex) -> None:
    connection = HTTPConnection(_ADDRESS)
    try:
        trace = os.environ.get("_X_AMZN_TRACE_ID", "")
        connection.request("POST", "/", str(max(0.0, float(seconds))), {"X-Amzn-Trace-Id": trace})
        connection.getresponse().read()
    finally:
        connection.close()


def _resolve_unless_broken(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
    kind, _, broken = _NETWORK.read_text().partition(" ")
    if str(port) != broken:
        return _resolve(host, port, *arguments, **more)
    if kind == "dns":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    # As urllib3 raises it when it connects.
    from urllib3.exceptions import SSLError

    raise SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired"))


with _SKIPPED.open("rb") as _file:
    _seconds = mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ)
time.time = lambda: _real() + struct.unpack_from("d", _seconds)[0]
time.monotonic = lambda: _monotonic() + struct.unpack_from("d", _seconds)[0]
time.sleep = _sleep
socket.getaddrinfo = _resolve_unless_broken
