"""Contents go into the storage of a bucket as streams, without touching a disk."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from huggingface_hub import HfApi

from .hub_client import Transfer, storage_connection
from .manifest import FileRecord


_PIECE = 8 * 1024 * 1024  # bytes that travel to hf_xet at once; it takes copies


class StreamedUpload:
    """
    Contents on their way into the storage of a bucket, as binary files to write into.

    They have no name in the bucket until [`~bucket.hub_client.register`] gives them one: whatever is killed before, the
    bucket is as it was. `write` waits when hf_xet has enough to send, so memory is bounded whatever the size.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.
        transfer ([`Transfer`], *optional*):
            Counts the bytes, at each [`~StreamedUpload.progress`].

    Attributes:
        files (`dict[str, FileRecord]`): Size and Xet hash of what was written, by name. They count when the context is left.

    Example:

    ```python
    >>> import torch
    >>> from transformers_buckets.bucket.upload_streams import StreamedUpload

    >>> with StreamedUpload(api, "my-org/my-run") as upload:
    ...     with upload.open("optimizer.pt") as file:
    ...         torch.save({"step": 500}, file)
    >>> upload.files["optimizer.pt"].size
    1013
    ```
    """

    def __init__(self, api: HfApi, bucket_id: str, transfer: Transfer | None = None):
        self.files: dict[str, FileRecord] = {}
        self._transfer = transfer or Transfer()
        self._commit = None
        self._connection = storage_connection(api, bucket_id, "write")

    def __enter__(self) -> "StreamedUpload":
        from hf_xet import XetSession

        self._commit = XetSession().new_upload_commit(**self._connection)
        self._commit.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._commit.__exit__(*exception)

    def progress(self) -> tuple[int, int]:
        """Bytes read so far, and those among them that the Hub did not have. May be asked from any thread."""
        if self._commit:
            self._transfer.update_progress(self._commit.progress())
        return self._transfer.read, self._transfer.new

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """
        A file to write from its beginning to its end. Several can be open at once; an error in one is one of the upload.

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
        except BaseException as error:
            sink.close()  # so that nothing more is written into it when the buffer is collected
            stream.abort()
            if sink.error not in (None, error):
                raise sink.error from None  # torch covers it with one of its own
            raise
        self.files[name] = FileRecord(written.file_size, written.hash)


class _Sink(io.RawIOBase):
    """What lies between Python's buffer and a stream of hf_xet."""

    def __init__(self, stream):
        self._stream = stream
        self._written = 0
        self.error: Exception | None = None  # why a write failed

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data) -> int:
        data = memoryview(data).cast("B")
        try:
            for start in range(0, len(data), _PIECE):
                self._stream.write(bytes(data[start : start + _PIECE]))
        except Exception as error:
            self.error = error
            raise
        self._written += len(data)
        return len(data)
