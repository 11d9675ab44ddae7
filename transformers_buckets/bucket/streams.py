"""Contents of files come and go as streams, without touching a disk."""

import bisect
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import HfApi
from huggingface_hub.utils import build_hf_headers

from .errors import BrokenCheckpointError
from .files import hash_files
from .manifest import FileRecord


_PIECE = 8 * 1024 * 1024  # bytes that travel to hf_xet at once; it takes copies
_ATTEMPTS = 2  # a byte that flips on the way may not flip twice


class StreamedUpload:
    """
    Contents on their way into the storage of a bucket, as binary files to write into.

    They have no name in the bucket until [`~bucket.hub_client.register`] gives them one: whatever is killed before, the
    bucket is as it was. `write` waits while hf_xet has about 200 MB that have not left yet.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.

    Attributes:
        files (`dict[str, FileRecord]`): Size and Xet hash of what was written, by name. They count when the context is left.

    Example:

    ```python
    >>> import torch
    >>> from transformers_buckets.bucket.streams import StreamedUpload

    >>> with StreamedUpload(api, "my-org/my-run") as upload:
    ...     with upload.open("optimizer.pt") as file:
    ...         torch.save({"step": 500}, file)
    >>> upload.files["optimizer.pt"].size
    1013
    ```
    """

    def __init__(self, api: HfApi, bucket_id: str):
        self.files: dict[str, FileRecord] = {}
        self._connection = _connection(api, bucket_id, "write")

    def __enter__(self) -> "StreamedUpload":
        from hf_xet import XetSession

        self._commit = XetSession().new_upload_commit(**self._connection)
        self._commit.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._commit.__exit__(*exception)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """
        A file to write from its beginning to its end. Several can be open at once.

        Args:
            name (`str`):
                What [`StreamedUpload.files`] shall call it.
        """
        from hf_xet import SKIP_SHA256

        stream = self._commit.start_upload_stream(name=name, sha256=SKIP_SHA256)
        sink = _Sink(stream)
        file = io.BufferedWriter(sink, _PIECE)
        try:
            yield file
            file.close()  # whoever wrote may have done so already
            written = stream.finish().xet_info
        except BaseException:
            sink.close()  # so that nothing more is written into it when the buffer is collected
            stream.abort()
            raise
        self.files[name] = FileRecord(written.file_size, written.hash)


class RangedFile(io.RawIOBase):
    """
    A file of a bucket of which only some ranges of bytes can be read, by `seek` and `read`.

    A range comes into memory as a whole when it is first read, and stays until another one is. Ranges that lie side by
    side come in one stream; reading them in their order is fastest.

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
        if index != self._index:
            self._load(index)
        start = self._position - self._ranges[index][0]
        part = self._content[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _load(self, index: int) -> None:
        start, end = self._ranges[index]
        for attempt in range(_ATTEMPTS):
            if attempt or index != self._index + 1:
                self._following = iter(())
            self._index, self._content = -1, b""  # it goes before the next one comes
            content = next(self._following, None)
            if content is None:
                self._following = self._contents(index)
                content = next(self._following)
            if self._is_right(content):
                self._index, self._content = index, content
                return
        raise BrokenCheckpointError(f"bytes {start} to {end} did not arrive as they were written")

    def _contents(self, index: int) -> Iterator[bytes]:
        """The content of a range, and of those that follow it without a gap."""
        start, end = self._ranges[index]
        following = [end]
        for next_start, next_end in self._ranges[index + 1 :]:
            if next_start != following[-1]:
                break
            following.append(next_end)
        chunks, rest = self._stream(self._record, start, following[-1]), memoryview(b"")
        for end in following:
            parts = []
            while start < end:
                rest = rest or memoryview(next(chunks, b""))
                if not rest:
                    raise BrokenCheckpointError(f"the file ends at byte {start}, before byte {end}")
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

    group = XetSession().new_download_stream_group(**_connection(api, bucket_id, "read"))

    def stream(record: FileRecord, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return iter(group.download_stream(XetFileInfo(record.xet_hash, record.size), start, end))

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
    """
    for _ in range(_ATTEMPTS):
        file, path = _file_in_memory()
        if not record.is_empty:
            file.writelines(stream(record))
            file.flush()
        if hash_files({"it": path}) == {"it": record}:
            file.seek(0)
            return file
        file.close()
    raise BrokenCheckpointError("it did not arrive as it was committed (wrong hash)")


def _file_in_memory() -> tuple[BinaryIO, Path]:
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("from-bucket"), "w+b")
        return file, Path(f"/proc/self/fd/{file.fileno()}")
    file = tempfile.NamedTemporaryFile()
    return file, Path(file.name)


def _connection(api: HfApi, bucket_id: str, right: str) -> Mapping[str, object]:
    headers = build_hf_headers(
        token=api.token, library_name=api.library_name, library_version=api.library_version, headers=api.headers
    )
    return {
        "token_refresh_url": f"{api.endpoint}/api/buckets/{bucket_id}/xet-{right}-token",
        "token_refresh_headers": headers,
        # The storage has tokens of its own; that for the Hub is none of its business.
        "custom_headers": {name: value for name, value in headers.items() if name.lower() != "authorization"},
    }


class _Sink(io.RawIOBase):
    """What lies between Python's buffer and a stream of hf_xet."""

    def __init__(self, stream):
        self._stream = stream
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data) -> int:
        data = memoryview(data).cast("B")
        for start in range(0, len(data), _PIECE):
            self._stream.write(bytes(data[start : start + _PIECE]))
        self._written += len(data)
        return len(data)
