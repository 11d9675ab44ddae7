"""Contents come from the storage of a bucket as streams, without touching a disk: whole files, or ranges of them."""

import bisect
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import HfApi

from .errors import BrokenCheckpointError
from .files import hash_files
from .hub_client import storage_connection
from .manifest import FileRecord


_SMALL = 64 * 1024  # bytes; less than the Xet storage keeps in one piece on average
_AT_ONCE = 16
_RUN = 128 * 1024 * 1024  # bytes in one stream, if no range is larger: hf_xet may have all of them in memory
_WRONG = "a part of it did not arrive as it was written"


class RangedFile(io.RawIOBase):
    """
    A file of a bucket of which only some ranges of bytes can be read, by `seek` and `read`.

    Ranges that lie side by side come in one stream, up to 128 MiB of them; each is in memory as a whole from when it is
    first read until another one is. Reading them in their order is fastest. Small ones that lie alone come first,
    several at once, and stay: each of them costs a request and not much else.

    A Xet hash is that of a whole file, so a part of one cannot be compared with it. `is_right` can tell by the content.

    Args:
        stream (`Callable[[FileRecord, int, int], Iterator[bytes]]`):
            Where the content comes from, see [`downloads`].
        record ([`FileRecord`]):
            The file.
        ranges (`Sequence[tuple[int, int]]`):
            First byte, and the one after the last, of each range. In order, without overlaps.
        is_right (`Callable[[bytes], bool]`):
            Whether the content of a range is as it was written, as far as that can be told.
    """

    def __init__(
        self,
        stream: Callable[[FileRecord, int, int], Iterator[bytes]],
        record: FileRecord,
        ranges: Sequence[tuple[int, int]],
        is_right: Callable[[bytes], bool],
    ):
        self._stream, self._record, self._ranges, self._is_right = stream, record, ranges, is_right
        self._position = 0
        self._index, self._content = -1, b""  # the range in memory
        self._following: Iterator[bytes] = iter(())  # those after it
        self._small: dict[int, bytes] | None = None  # those that came first

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._record.size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer) -> int:
        index = bisect.bisect_right(self._ranges, self._position, key=lambda range_: range_[0]) - 1
        if index < 0 or self._position >= self._ranges[index][1]:
            return 0
        start = self._position - self._ranges[index][0]
        part = self._content_of(index)[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _content_of(self, index: int) -> bytes:
        if self._small is None:
            self._small = self._load_small()
        if index in self._small:
            return self._small[index]
        if index != self._index:
            self._load(index)
        return self._content

    def _load_small(self) -> dict[int, bytes]:
        runs = [run for run in self._runs if self._ranges[run[-1]][1] - self._ranges[run[0]][0] <= _SMALL]

        def fetch(run: list[int]) -> list[bytes]:
            return _right(lambda: list(self._contents(run[0])), lambda them: all(map(self._is_right, them)), _WRONG)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            contents = pool.map(fetch, runs)
        return {
            index: content
            for run, them in zip(runs, contents, strict=True)
            for index, content in zip(run, them, strict=True)
        }

    def _load(self, index: int) -> None:
        if index != self._index + 1:
            self._following = iter(())
        self._index, self._content = -1, b""  # it goes before the next one comes

        def fetch() -> tuple[bytes, Iterator[bytes]]:
            content = next(self._following, None)
            if content is None:
                self._following = self._contents(index)
                content = next(self._following)
            following, self._following = self._following, iter(())  # a second attempt begins anew
            return content, following

        self._content, self._following = _right(fetch, lambda fetched: self._is_right(fetched[0]), _WRONG)
        self._index = index

    @cached_property
    def _runs(self) -> list[list[int]]:
        """The ranges, by number, of which one begins where the one before ends. They come in one stream."""
        runs = []
        for index, (start, end) in enumerate(self._ranges):
            if index and self._ranges[index - 1][1] == start and end - self._ranges[runs[-1][0]][0] <= _RUN:
                runs[-1].append(index)
            else:
                runs.append([index])
        return runs

    def _contents(self, index: int) -> Iterator[bytes]:
        """The content of a range, and of those after it in its run."""
        run = next(run for run in reversed(self._runs) if run[0] <= index)
        start, ends = self._ranges[index][0], [self._ranges[later][1] for later in run if later >= index]
        chunks, rest = self._stream(self._record, start, ends[-1]), memoryview(b"")
        for end in ends:
            parts = []
            while start < end:
                rest = rest or memoryview(next(chunks))
                parts.append(rest[: end - start])
                rest = rest[len(parts[-1]) :]
                start += len(parts[-1])
            yield b"".join(parts)


def downloads(api: HfApi, bucket_id: str) -> Callable[..., Iterator[bytes]]:
    """
    Open the storage of a bucket for reading.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.

    Returns:
        `Callable`: Gives the content of a [`FileRecord`] in chunks; from a byte on and up to another one, if these are given.
    """
    from hf_xet import XetFileInfo, XetSession

    group = XetSession().new_download_stream_group(**storage_connection(api, bucket_id, "read"))

    def stream(record: FileRecord, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        missing = (record.size if end is None else end) - start
        try:
            for chunk in group.download_stream(XetFileInfo(record.xet_hash, record.size), start, end):
                missing -= len(chunk)
                yield chunk
        except (OSError, RuntimeError) as error:  # hf_xet's words for a transfer that broke off
            raise ConnectionError(str(error)) from None
        if missing:  # and does not always tell
            raise ConnectionError(f"the transfer broke off, {missing} bytes before its end")

    return stream


def read_whole(stream: Callable[[FileRecord], Iterator[bytes]], record: FileRecord) -> BinaryIO:
    """
    Bring a whole file into memory, and compare every byte by its Xet hash.

    Args:
        stream (`Callable[[FileRecord], Iterator[bytes]]`):
            Where the content comes from, see [`downloads`].
        record ([`FileRecord`]):
            The file.

    Returns:
        `BinaryIO`: A file in memory (on Linux; elsewhere a temporary one) that is gone when it is closed.

    Raises:
        [`BrokenCheckpointError`]: If what arrives has another hash, twice.
        `ConnectionError`: If the transfer breaks off, twice.
    """
    file, path = _file_in_memory()

    def fetch() -> FileRecord:
        file.seek(0)
        file.truncate()
        if not record.is_empty:
            file.writelines(stream(record))
            file.flush()
        return hash_files({"": path})[""]

    try:
        _right(fetch, lambda found: found == record, "it did not arrive as it was committed (wrong hash)")
        file.seek(0)
        return file
    except BaseException:
        file.close()
        raise


def _right(fetch: Callable, is_right: Callable, otherwise: str):
    """What arrives, if it is right. A byte that flips on the way, noticed by hf_xet or here, may not flip twice."""
    for attempt in range(2):
        try:
            if is_right(content := fetch()):
                return content
        except ConnectionError:
            if attempt:
                raise
    raise BrokenCheckpointError(otherwise)


def _file_in_memory() -> tuple[BinaryIO, Path]:
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("from-bucket"), "w+b")
        return file, Path(f"/proc/self/fd/{file.fileno()}")
    file = tempfile.NamedTemporaryFile()
    return file, Path(file.name)
