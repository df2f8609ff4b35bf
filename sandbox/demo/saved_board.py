"""The board at the end of a run, in a single file that makes no request."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyvips

from lumendrop_cli import ledger_index, statuses
from lumendrop_cli.board import execution, header
from lumendrop_cli.board.server import STATIC, config, details
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.stack import Stack

PAGE = "index.html"
PAGE_BYTES = 14_000_000  # limit for the embedded pictures, as base64
LARGEST_SIDE, SMALLEST_SIDE = 1600, 640  # pixels

_SAVED_API = Path(__file__).with_name("saved_api.js")
_IMPORT = re.compile(r'(from|import) "\./(\w+\.js)"')


def record(stack: Stack) -> dict[str, Any]:
    """What the board shows now: the stack, the figures, and each upload with its execution, the newest first."""
    rows = list(ledger_index.rows(stack, Filter()))
    running = sum(row["status"] == statuses.SUBMITTED for row in rows)
    figures = {source.name: source.read(stack) for source in header.SOURCES}
    return {
        "config": config(stack, read_only=True) | {"saved": datetime.now(UTC).isoformat(timespec="seconds")},
        "figures": figures | {"complete": True, "running": running},
        "uploads": [details(stack, row) | {"execution": execution.path(stack, row)} for row in rows],
    }


class SavedBoard:
    """A recorded board that gets pictures. It keeps only encoded ones, so many photos need little memory."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self._recorded = recorded
        self._uploads = {upload["card"]["version"]: upload for upload in recorded["uploads"]}
        # A photo and its result take about 0.35 bytes per pixel each. Many photos get fewer pixels each.
        side = int((PAGE_BYTES / max(len(self._uploads), 1) / 0.7) ** 0.5)
        self._side = max(SMALLEST_SIDE, min(LARGEST_SIDE, side))
        self._bytes = 0

    def add(
        self,
        version_id: str,
        before: pyvips.Image | None,
        after: pyvips.Image | None,
        file: str = "",
        kept: Mapping[str, str] = {},
    ) -> None:
        """Adds the pictures of an upload, unless the page is full. `file` is the path of its result below the page."""
        upload = self._uploads[version_id]
        # With "./", a name such as "javascript:x.jpg" is a path.
        upload["file"] = f"./{quote(file)}" if file else ""
        upload["kept"] = "; ".join(f"{name} {value}" for name, value in kept.items()) or upload["kept"]
        sides = {"before": before, "after": after}
        if self._bytes < PAGE_BYTES:
            upload["pictures"] = {side: _data_url(image, self._side) for side, image in sides.items() if image}
            self._bytes += sum(map(len, upload["pictures"].values()))

    def write(self, folder: Path) -> Path:
        """Writes the page and returns its path."""
        page = folder / PAGE
        page.write_text(_page(self._recorded), encoding="utf-8")
        return page


def _data_url(image: pyvips.Image, side: int) -> str:
    """At most `side` pixels long."""
    webp = image.thumbnail_image(side, height=side, size="down").webpsave_buffer(
        Q=90, smart_subsample=True, keep="none"
    )
    return _url(webp, "image/webp")


def _url(body: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


def _page(recorded: Mapping[str, Any]) -> str:
    """The board's own page with everything that it loads inside. Its modules are data URLs with names of their own."""
    modules = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    modules["api.js"] = _SAVED_API.read_text(encoding="utf-8")
    named = {name: _IMPORT.sub(r'\1 "board/\2"', text) for name, text in modules.items()}
    imports = {f"board/{name}": _url(text.encode(), "text/javascript") for name, text in named.items()}
    scripts = [("importmap", json.dumps({"imports": imports})), ("module", 'import "board/main.js";')]
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for _, text in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} data:; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src data:; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    # In JSON, "<" can be written without ending the element.
    data = json.dumps(recorded, default=str).replace("<", r"\u003c")
    head = [
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        f'<link rel="icon" href="{_logo()}" type="image/svg+xml">',
        f"<style>\n{(STATIC / 'board.css').read_text(encoding='utf-8')}</style>",
        f'<script type="application/json" id="saved">{data}</script>',
        *(f'<script type="{kind}">{text}</script>' for kind, text in scripts),
    ]
    page = re.sub(r"<(link|script)\b.*\n", "", (STATIC / "index.html").read_text(encoding="utf-8"))
    with_logo = page.replace("/logo.svg", _logo())
    return with_logo.replace("</title>\n", "</title>\n" + "\n".join(head) + "\n")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _logo() -> str:
    return _url((STATIC / "logo.svg").read_bytes(), "image/svg+xml")
