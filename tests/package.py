"""What `sam deploy` uploads: each folder's checksum, which is its name in S3, and the size of its zip.

`python tests/package.py BUILD [BUILD]`, with the SAM CLI's Python. Two builds must be equal, the layer has a size
limit, and the template of the nested stack must be part of the build.
"""

import hashlib
import sys
from pathlib import Path

from samcli.lib.package.utils import make_zip_with_lambda_permissions, zip_folder

MOST_LAYER_BYTES = 10_000_000
MOST_UNPACKED_LAYER_BYTES = 20_000_000
CODE_STORAGE_BYTES = 75_000_000_000  # the smaller of the two quotas that AWS names, see docs/limits.md
NESTED_STACK = "Monitoring"

Sizes = dict[str, tuple[str, int]]


def packages(build: Path) -> Sizes:
    """Checksum and zipped bytes of each function and layer of a build."""
    found = {}
    for folder in _folders(build):
        if not (folder / "template.yaml").exists():
            with zip_folder(str(folder), make_zip_with_lambda_permissions) as (file, checksum):
                found[folder.name] = (checksum, Path(file).stat().st_size)
    return found


def templates(build: Path) -> Sizes:
    """Checksum and bytes of the template of each nested stack of a build."""
    files = [folder / "template.yaml" for folder in _folders(build)]
    texts = {file.parent.name: file.read_bytes() for file in files if file.exists()}
    return {name: (hashlib.md5(text, usedforsecurity=False).hexdigest(), len(text)) for name, text in texts.items()}


def _folders(build: Path) -> list[Path]:
    return sorted(path for path in build.iterdir() if path.is_dir())


def main(*builds: str) -> str | None:
    """Prints a table. Returns a message if something is wrong."""
    (zipped, nested), *others = ((packages(Path(build)), templates(Path(build))) for build in builds)
    for name, (checksum, size) in zipped.items():
        print(f"{name:24} {size:>10,} bytes zipped  {checksum}")
    for name, (checksum, size) in nested.items():
        print(f"{name:24} {size:>10,} bytes         {checksum}  (nested stack)")
    kept = sum(size for _, size in zipped.values())
    print(f"Lambda keeps {kept:,} bytes of an update of everything: {CODE_STORAGE_BYTES // kept:,} fit into 75 GB.")
    for other in others:
        if other != (zipped, nested):
            found = {*zipped.items(), *nested.items()} ^ {*other[0].items(), *other[1].items()}
            return f"The builds differ: {sorted(found)}"
    if NESTED_STACK not in nested:
        return f"The build has no template of the nested stack {NESTED_STACK}."
    unpacked = sum(path.stat().st_size for path in Path(builds[0], "LumendropLayer").rglob("*") if path.is_file())
    print(f"The layer has {unpacked:,} bytes unpacked.")
    if unpacked > MOST_UNPACKED_LAYER_BYTES:
        return f"The unpacked layer must have at most {MOST_UNPACKED_LAYER_BYTES:,} bytes to keep cold starts fast."
    if zipped["LumendropLayer"][1] >= MOST_LAYER_BYTES:
        return f"The layer must stay below {MOST_LAYER_BYTES:,} bytes to keep cold starts fast."
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
