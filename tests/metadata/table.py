"""Writes the table of docs/metadata.md: PYTHONPATH=layers python -m tests.metadata.table. Needs exiftool and exiv2."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.metadata import delivering, judges
from tests.metadata.files import FILES, upload

PAGE = Path(__file__).parents[2] / "docs/metadata.md"
START, END = "<!-- table -->\n", "<!-- end of table -->\n"


def deliver_all(folder: Path) -> dict[str, dict[str, Path]]:
    """Delivers each upload as JPEG, PNG, and WebP. Returns the paths by upload and extension."""
    found: dict[str, dict[str, Path]] = {}
    for name in FILES:
        (folder / name).write_bytes(upload(name))
        for extension in delivering.RESULTS:
            path = folder / f"{name}.result.{extension}"
            path.write_bytes(delivering.deliver(upload(name), delivering.result(extension), folder)[1])
            found.setdefault(name, {})[extension] = path
    return found


def compare_all(folder: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    """The comparison of each upload with each of its delivered photos."""
    paths = deliver_all(folder)
    tags = judges.read(
        [*(folder / name for name in FILES), *(path for ways in paths.values() for path in ways.values())]
    )
    return {
        name: {extension: judges.compare(tags[folder / name], tags[path]) for extension, path in ways.items()}
        for name, ways in paths.items()
    }


def rows(found: dict[str, dict[str, dict[str, list[str]]]]) -> Iterator[str]:
    """One row for each upload: tags before, then carried over, dropped, and lost as JPEG, PNG, and WebP."""
    yield "| upload | tags | carried over | dropped on purpose | lost |"
    yield "|---|---|---|---|---|"
    for name, ways in found.items():
        before = sum(map(len, ways["jpg"].values()))
        cells = [" / ".join(str(len(way[kind])) for way in ways.values()) for kind in ("carried", "dropped", "lost")]
        yield f"| `{name}` | {before} | {' | '.join(cells)} |"


def main() -> None:
    """Replaces the table in the page."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare_all(Path(folder))
    text = PAGE.read_text()
    made = START + "\n".join(rows(found)) + "\n" + END
    PAGE.write_text(re.sub(re.escape(START) + ".*?" + re.escape(END), lambda _: made, text, flags=re.DOTALL))
    for name, ways in found.items():
        for extension, way in ways.items():
            if way["lost"]:
                print(f"{name} as {extension}: lost {', '.join(way['lost'])}")


if __name__ == "__main__":
    main()
