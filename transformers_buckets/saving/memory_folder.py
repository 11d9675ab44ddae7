"""A folder in memory, for what has to be a file for a moment and shall not touch a disk."""

import logging
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..bucket.files import WORK_FOLDER, work_folder
from ..bucket.units import size_text


# Where Linux keeps files in memory. Other systems have no such place.
MEMORY = Path("/dev/shm")
_PREFIX = "transformers_buckets-"
_FULL = 1024 * 1024  # bytes
_SPARE = 64 * 1024 * 1024  # bytes that are left to others
logger = logging.getLogger(__name__)


class MemoryFolder:
    """
    Folders in memory of one process. What a killed one left there is deleted by the next.

    Args:
        path (`str` or `Path`, *optional*):
            Its folder, made by another rank. `None` for one that this process makes when it is needed.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = Path(path or MEMORY / f"{_PREFIX}{uuid.uuid4().hex}")
        self._lock: FileLock | None = None

    def __reduce__(self):
        return type(None), ()  # a trainer that was pickled or deep-copied has its own

    def place(self, name: str) -> Path:
        """
        A new folder.

        Args:
            name (`str`):
                What to call it.

        Raises:
            `OSError`: If there is no room.
        """
        self.hold()
        place = self.path / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def hold(self) -> Path:
        """Make the folder that all others are in, if it is not there."""
        if self._lock is None:
            _drop_what_was_left()
            self._lock = FileLock(f"{self.path}.lock", thread_local=False)
            self._lock.acquire()  # until this process ends, however it ends
            self.path.mkdir(mode=0o700)
        return self.path

    def room_for(self, name: str, size: int, output_dir: str | Path) -> Path:
        """
        A new folder for something large: in memory, or where memory is short on local disk.

        Args:
            name (`str`):
                What to call it.
            size (`int`):
                Bytes that will be in it.
            output_dir (`str` or `Path`):
                Folder of the run on local disk.
        """
        if why_no_memory_folder() is None and shutil.disk_usage(MEMORY).free > size + _SPARE:
            return self.place(name)
        logger.warning(f"{MEMORY} has no room for {size_text(size)}: they go through local disk.")
        place = work_folder(output_dir) / name
        place.mkdir(exist_ok=True)
        return place

    def is_full(self) -> bool:
        """Whether a write may have failed for want of room."""
        return shutil.disk_usage(MEMORY).free < _FULL

    def release(self) -> None:
        """Give it back, unless something in it is still needed."""
        if self._lock is None or any(place.name != WORK_FOLDER for place in self.path.iterdir()):
            return
        shutil.rmtree(self.path, ignore_errors=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()
        self._lock = None


def why_no_memory_folder() -> str | None:
    """Why there can be no folder in memory; `None` if there can be one."""
    return None if os.access(MEMORY, os.W_OK) else f"this system has no folder in memory ({MEMORY})"


def leads_to_memory(link: Path) -> bool:
    """Whether a link leads to one of these folders, be it there or not."""
    return link.is_symlink() and os.readlink(link).startswith(f"{MEMORY / _PREFIX}")


def _drop_what_was_left() -> None:
    for file in MEMORY.glob(f"{_PREFIX}*.lock"):
        lock = FileLock(file)
        with suppress(Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink()
