"""What `sam deploy` would upload: each folder's checksum, by which SAM names it in S3, and the size of its zip.

`python tests/package.py BUILD [BUILD]`, with the SAM CLI's Python. Two builds must not differ; the layer has its limit.
"""

import sys
from pathlib import Path

from samcli.lib.package.utils import make_zip_with_lambda_permissions, zip_folder

MOST_LAYER_BYTES = 10_000_000
CODE_STORAGE_BYTES = 75_000_000_000  # the smaller of the two quotas that AWS names, see docs/limits.md


def packages(build: Path) -> dict[str, tuple[str, int]]:
    """Checksum and zipped bytes of each folder of a build."""
    found = {}
    for folder in sorted(path for path in build.iterdir() if path.is_dir()):
        with zip_folder(str(folder), make_zip_with_lambda_permissions) as (file, checksum):
            found[folder.name] = (checksum, Path(file).stat().st_size)
    return found


def main(*builds: str) -> str | None:
    """Prints a table; a sentence about what is wrong, if anything is."""
    first, *others = (packages(Path(build)) for build in builds)
    for name, (checksum, size) in first.items():
        print(f"{name:24} {size:>10,} bytes zipped  {checksum}")
    kept = sum(size for _, size in first.values())
    print(f"Lambda keeps {kept:,} bytes of an update of everything: {CODE_STORAGE_BYTES // kept:,} fit into 75 GB.")
    for other in others:
        if other != first:
            return f"The builds differ: {sorted(set(first.items()) ^ set(other.items()))}"
    if first["LumendropLayer"][1] >= MOST_LAYER_BYTES:
        return f"The layer has to stay below {MOST_LAYER_BYTES:,} bytes, or cold starts get slow."
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
