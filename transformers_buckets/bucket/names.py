"""Names of files that come from a bucket or go to one: what is dangerous anywhere, and what only this system cannot hold."""

import os
from collections.abc import Iterable

from .errors import BrokenCheckpointError


_NOT_ON_WINDOWS = '\\:*?"<>|'


def check_paths(paths: Iterable[str]) -> None:
    """
    Refuse paths that are not plain files below one folder. A writer goes by this as well as a reader.

    Names that are merely not portable, such as one with a colon, pass: [`check_portable`] is about them.

    Args:
        paths (`Iterable[str]`):
            All files of a checkpoint, by their path in it.

    Raises:
        [`BrokenCheckpointError`]: If a path would leave the folder, cannot be told from another, or two cannot exist
            side by side.
    """
    seen = set(paths)
    for path in sorted(seen):
        if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable() or len(path) > 1024:
            raise BrokenCheckpointError(f"the file name {path!r} could write outside the checkpoint: rename the file")
        if folder := next((folder for folder in _folders(path) if folder in seen), None):
            raise BrokenCheckpointError(f"{folder!r} is both a file and a folder")


def check_portable(
    paths: Iterable[str], windows: bool = os.name == "nt", ignores_case: bool = os.name == "nt"
) -> None:
    """
    Refuse paths that the file system they are about to be written to cannot hold.

    Args:
        paths (`Iterable[str]`):
            All files of a checkpoint, by their path in it.
        windows (`bool`, *optional*):
            Whether the names are for Windows. Defaults to the system this is.
        ignores_case (`bool`, *optional*):
            Whether names that differ by case only are one and the same there.

    Raises:
        [`BrokenCheckpointError`]: If one cannot be held; names it.
    """
    folded: dict[str, str] = {}
    for path in paths:
        if windows and any(character in path for character in _NOT_ON_WINDOWS):
            raise BrokenCheckpointError(
                f"this system cannot hold a file called {path!r}: pull the checkpoint on Linux or macOS, or leave that file out"
            )
        other = folded.setdefault(path.casefold(), path)
        if ignores_case and other != path:
            raise BrokenCheckpointError(
                f"this file system cannot hold both {other!r} and {path!r}, which differ by case only: pull the checkpoint "
                "to one that can"
            )


def _folders(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        yield path
