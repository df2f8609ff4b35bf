"""No result replaces an original, and no result becomes an input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer

from lumendrop_cli.photo_files import Identity, LocalFile, identity
from lumendrop_cli.result_folder import ResultFolder


def check_overlaps(paths: Sequence[Path], files: Iterable[LocalFile], folder: ResultFolder) -> None:
    """Raises BadParameter if the result of a file would be one of the originals, or in one of the input folders.

    Files and folders are compared by what they are, so links and other spellings of a path make no difference.
    """
    folders = _identities(path for path in paths if path.is_dir())
    if identity(folder.root) in folders:
        raise typer.BadParameter(
            f"{folder.root} is an input folder and the folder for results, so results would replace the originals. "
            "Choose another -o"
        )
    files = list(files)
    originals = _identities(file.path for file in files)
    for file in files:
        result = folder.path_of(file.name)
        if identity(result) in originals:
            raise typer.BadParameter(f"a result would replace the original {file.path}. Choose another -o")
        if folders & _identities(_folders_of(result, folder.root)):
            raise typer.BadParameter(f"the result of {file.path} would be in an input folder. Choose another -o")


def _identities(paths: Iterable[Path]) -> set[Identity]:
    return {found for path in paths if (found := identity(path))}


def _folders_of(path: Path, root: Path) -> Iterator[Path]:
    """The folders of a path, up to this one."""
    return (parent for parent in path.parents if parent.is_relative_to(root))
