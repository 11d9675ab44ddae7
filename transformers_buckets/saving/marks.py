"""A checkpoint on local disk while it is written, and whether it was written to its end."""

import os
from pathlib import Path

from ..bucket.contents import TRAINER_STATE_NAME
from ..bucket.files import SENTINEL_NAME


_WRITTEN_IN_BACKGROUND = "This checkpoint is being written in the background."


def is_whole(folder: Path) -> bool:
    """Whether transformers finished writing this checkpoint: the trainer state comes last, the sentinel file goes last."""
    return (folder / TRAINER_STATE_NAME).is_file() and not (folder / SENTINEL_NAME).exists()


def begin_writing(folder: str | Path) -> None:
    """Mark a checkpoint as incomplete, before its first file, until [`end_writing`]."""
    os.makedirs(folder, exist_ok=True)
    Path(folder, SENTINEL_NAME).write_text(_WRITTEN_IN_BACKGROUND)


def end_writing(folder: str | Path) -> None:
    """Take that mark away, also from a checkpoint whose process was killed over it. Other marks stay."""
    if _mark(folder) == _WRITTEN_IN_BACKGROUND:
        Path(folder, SENTINEL_NAME).unlink()


def is_urgent(folder: str | Path) -> bool:
    """Whether transformers saves this checkpoint because a SIGTERM came, with a SIGKILL to follow."""
    return _mark(folder) not in (None, _WRITTEN_IN_BACKGROUND)


def _mark(folder: str | Path) -> str | None:
    try:
        return Path(folder, SENTINEL_NAME).read_text(encoding="utf-8")
    except OSError:
        return None
