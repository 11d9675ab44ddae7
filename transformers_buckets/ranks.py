"""Several processes, one bucket: work that one of them does while the others wait, and outcomes that all of them learn."""

import logging
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

from .bucket.errors import BucketError
from .bucket.files import WORK_FOLDER, work_folder


logger = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds between two signs of life. A collective gives up after minutes if one rank is late, a download may take hours.
_HEARTBEAT = 5.0


def together(work: Callable[[], T] | None) -> list[T | None]:
    """
    Do something on some ranks while the others wait for them, however long it takes. All ranks must call this.

    Args:
        work (`Callable`, *optional*):
            What this rank does; `None` to wait only.

    Returns:
        `list`: The results of all ranks, in their order.

    Raises:
        Whatever `work` raises on this rank, and [`BucketError`] if it failed on another one.
    """
    if PartialState().num_processes == 1:
        return [work() if work else None]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="push-to-bucket") as pool:
        future = pool.submit(work or (lambda: None))
        patience = 0.05
        try:
            while not all(gather_object([future.done()])):
                wait([future], timeout=patience)
                patience = min(2 * patience, _HEARTBEAT)
        except RuntimeError as lost:  # a rank is gone. What the work comes to may say which one.
            raise future.exception() or lost from lost
    error = future.exception()
    errors = gather_object([None if error is None else f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    for rank, message in enumerate(errors):
        if message is not None:
            raise BucketError(f"rank {rank} failed: {message}")
    return gather_object([future.result()])


def add_note(error: BaseException, text: str) -> None:
    """Say something that an error does not tell by itself: in the log, and below its traceback (Python 3.11 and later)."""
    logger.error(text)
    if sys.version_info >= (3, 11):
        error.add_note(text)


def first_ranks(folder: str | Path) -> list[int]:
    """
    For each rank, the first of those that see the same disk. All ranks must call this.

    Nodes may share a disk or have one each, or some of them share one; looking for files of the others tells.

    Args:
        folder (`str` or `Path`):
            A folder, by the same path on every node.
    """
    state = PartialState()
    if state.num_processes == 1:
        return [0]
    signs = Path(folder, WORK_FOLDER)
    name = f"rank-{gather_object([uuid.uuid4().hex])[0]}"
    sign = signs / f"{name}-{state.process_index}"

    def leave_sign() -> None:
        work_folder(folder)
        sign.touch()

    together(leave_sign)
    first = min(int(seen.name.rpartition("-")[2]) for seen in signs.glob(f"{name}-*"))
    firsts = gather_object([first])  # by then everyone has looked
    sign.unlink()
    return firsts


def ranks_on_this_disk(folder: str | Path) -> list[int]:
    """The ranks that see the same disk as this one, the one that writes to it first. All ranks must call this."""
    firsts = first_ranks(folder)
    return [rank for rank, first in enumerate(firsts) if first == firsts[PartialState().process_index]]
