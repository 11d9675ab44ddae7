"""A checkpoint on local disk while it is written: under which name, and whether time is short."""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..bucket.files import SENTINEL_NAME, WORK_FOLDER, set_aside, work_folder
from .memory_folder import leads_to_memory


logger = logging.getLogger(__name__)
_SAVING = "saving"


def is_urgent(folder: str | Path) -> bool:
    """Whether transformers saves this checkpoint because a SIGTERM came, with a SIGKILL to follow."""
    return Path(folder, SENTINEL_NAME).exists()


def folder_beside(output_dir: str | Path, folder: str | Path) -> Path:
    """
    Where a checkpoint lies until all of its files are written: in a folder of its own, away from whoever looks for names.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run on local disk.
        folder (`str` or `Path`):
            The checkpoint, below `output_dir`.
    """
    inside = Path(folder).relative_to(output_dir)
    return Path(output_dir, WORK_FOLDER, _SAVING, inside, inside.name)


def begin_beside(output_dir: str | Path, folder: str | Path) -> None:
    """
    Make room for a checkpoint that is not complete yet. What was left of an earlier one of this name comes along, as it
    would stay where it is in an ordinary save.
    """
    beside = folder_beside(output_dir, folder)
    work_folder(output_dir)
    shutil.rmtree(beside.parent, ignore_errors=True)
    beside.parent.mkdir(parents=True)
    if os.path.isdir(folder):
        os.rename(folder, beside)


def put_in_place(output_dir: str | Path, folder: str | Path) -> None:
    """
    Give a complete checkpoint its name. Files that callbacks have written under that name meanwhile become part of it.
    """
    beside = folder_beside(output_dir, folder)
    if os.path.isdir(folder):
        added = beside.with_name("added")
        os.rename(folder, added)  # from here on no folder has that name before the whole one does
        shutil.copytree(added, beside, symlinks=True, dirs_exist_ok=True, copy_function=os.replace)
    os.utime(beside)  # checkpoints are rotated by their time
    os.rename(beside, folder)
    shutil.rmtree(beside.parent, ignore_errors=True)


def make_way(output_dir: str | Path, folder: str | Path) -> None:
    """
    Let nothing be where a checkpoint shall be seen that lies elsewhere. What is of somebody else is set aside, never deleted.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run on local disk.
        folder (`str` or `Path`):
            The checkpoint, below `output_dir`.

    Raises:
        [`BucketError`], `OSError`: If that cannot be.
    """
    folder = Path(folder)
    if leads_to_memory(folder):
        return folder.unlink()
    if folder.is_dir():
        (folder / SENTINEL_NAME).unlink(missing_ok=True)  # for it alone, transformers makes the folder
        with suppress(OSError):  # there is something in it, or it is a link
            return folder.rmdir()
    if os.path.lexists(folder):
        aside = set_aside(folder, output_dir)
        logger.warning(f"What was in {folder} is in {aside} now. Delete it if nobody needs it.")


def drop_unfinished(output_dir: str | Path) -> None:
    """Delete checkpoints that a process was killed over, and links to such that were in memory."""
    for link in [*Path(output_dir).glob("checkpoint-*"), *Path(output_dir).glob("*/checkpoint-*")]:
        if leads_to_memory(link):
            link.unlink()
    shutil.rmtree(Path(output_dir, WORK_FOLDER, _SAVING), ignore_errors=True)
