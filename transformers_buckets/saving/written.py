"""What each rank has written of a checkpoint that all of them write: told to rank zero by files, beside the training."""

import os
import pickle
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ..bucket.errors import BucketError
from ..bucket.files import scan


_SHORTEST, _LONGEST = 0.01, 0.5  # seconds between two looks


def tell(folder: Path, rank: int, results: list) -> None:
    """
    Say that everything of a rank is on disk.

    Args:
        folder (`Path`):
            Where all ranks tell it, on a disk that they share.
        rank (`int`):
            This rank.
        results (`list`):
            What rank zero needs to know about it.
    """
    _put(folder, rank, {"results": results})


def tell_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Say that it is not, and will not be."""
    _put(folder, rank, {"error": f"{type(error).__name__}: {error}"})


def collect(folder: Path, ranks: Iterable[int], timeout: Callable[[], float]) -> list[list]:
    """
    Wait until some ranks have told.

    Args:
        folder (`Path`):
            Where they do.
        ranks (`Iterable[int]`):
            Which ones.
        timeout (`Callable`):
            Seconds in which nothing is written after which they are given up. May change meanwhile.

    Returns:
        `list[list]`: The results of each.

    Raises:
        [`BucketError`]: If one of them failed, or is given up.
    """
    results, pause = [], _SHORTEST
    for rank in ranks:
        there, since = -1, time.monotonic()
        while not _file(folder, rank).exists():
            if (size := _size(folder)) != there:
                there, since = size, time.monotonic()
            elif time.monotonic() - since > timeout():
                raise BucketError(
                    f"rank {rank} has written nothing of its part of {folder.name} for {timeout():.0f} s."
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        # A pickle of this very training, in a folder that is this user's alone.
        told = pickle.loads(_file(folder, rank).read_bytes())
        if "error" in told:
            raise BucketError(f"rank {rank} could not write its part of {folder.name}: {told['error']}")
        results.append(told["results"])
    return results


def _put(folder: Path, rank: int, content: dict) -> None:
    file = _file(folder, rank)
    torn = file.with_suffix(".part")
    torn.write_bytes(pickle.dumps(content))
    os.replace(torn, file)


def _file(folder: Path, rank: int) -> Path:
    return folder / f"written-{rank}"


def _size(folder: Path) -> int:
    size = 0
    for file in scan(folder).values():
        with suppress(FileNotFoundError):  # a note of another rank, which gets its name just now
            size += file.stat().st_size
    return size
