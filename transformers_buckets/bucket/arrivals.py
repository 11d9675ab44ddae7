"""Files are hashed while they arrive, so that a pull need not read all of them once more at its end."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .files import hash_files, stamp
from .manifest import FileRecord, Manifest


_WORTH_IT = 2**20  # bytes; what is smaller is read in no time at the end
_AT_ONCE = 8  # files; the others wait for their turn and go faster then, for they are there
_TICK = 0.02  # seconds
_PIECE = 2**20  # bytes

_pipes: set[int] = set()  # ends that are written to: a process forked meanwhile would keep them open for ever


def _close_pipes() -> None:
    while _pipes:  # once: in a process that this one forks, their numbers may be those of other files
        os.close(_pipes.pop())


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_close_pipes)


class Arrivals:
    """
    Hashes files while somebody writes them, each from its beginning to its end. A context around that writing.

    Small files, what it could not hash, and everything where there is no Linux, is left to whoever verifies the folder.

    Args:
        folder (`Path`):
            Where they arrive.
        manifest ([`Manifest`]):
            The files that are awaited, with their sizes.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self._folder, self._manifest = folder, manifest
        self._records: dict[str, FileRecord] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._nothing_comes, self._is_given_up = threading.Event(), False
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hash-arrivals")

    def __enter__(self) -> "Arrivals":
        if sys.platform == "linux":
            for path, record in self._manifest.files.items():
                if record.size >= _WORTH_IT:
                    self._pool.submit(self._hash, path, record.size)
        return self

    def __exit__(self, kind, *_) -> None:
        self._is_given_up = kind is not None
        self._nothing_comes.set()
        self._pool.shutdown(cancel_futures=self._is_given_up)

    def records(self) -> dict[str, FileRecord]:
        """Size and hash of those files that nobody has written into since their last byte was read."""
        return {
            path: record
            for path, record in self._records.items()
            if path in self._stamps and self._stamps[path] == _stamp(self._folder / path)
        }

    def _hash(self, path: str, size: int) -> None:
        """hf_xet hashes what it can open by a path. That of a pipe makes it wait for what has not arrived yet."""
        read, write = os.pipe()
        _pipes.add(write)
        feeder = threading.Thread(target=self._feed, args=(path, size, write), daemon=True)
        feeder.start()
        try:
            xet_hash = hash_files({path: Path(f"/proc/self/fd/{read}")})[path].xet_hash
        finally:
            os.close(read)  # a feeder that still writes hears of it
            feeder.join()
        self._records[path] = FileRecord(size, xet_hash)  # of pipes, hf_xet does not know the size

    def _feed(self, path: str, size: int, pipe: int) -> None:
        """Pass a growing file on, and note how it looks when all of it is through."""
        file, missing, passed = self._folder / path, size, 0
        try:
            while not file.exists() and not self._nothing_comes.wait(_TICK):
                pass
            with file.open("rb") as source:
                while missing and not self._is_given_up:
                    nothing_comes = self._nothing_comes.wait(0 if passed else _TICK)
                    passed = os.splice(source.fileno(), pipe, min(missing, _PIECE))
                    missing -= passed
                    if nothing_comes and not passed:
                        return
            if not missing:
                self._stamps[path] = stamp(file)
        except OSError:  # it is not there, or its file system has no splice: whoever verifies reads it
            pass
        finally:
            _pipes.discard(pipe)
            os.close(pipe)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        return stamp(file)
    except OSError:
        return None
