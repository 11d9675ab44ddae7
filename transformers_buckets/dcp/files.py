"""The files of one checkpoint in a bucket, as `torch.distributed.checkpoint` asks for files."""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import torch
from huggingface_hub.errors import BucketNotFoundError, HTTPError
from torch.distributed.checkpoint.filesystem import FileSystemBase

from ..bucket.address import BucketAddress
from ..bucket.download_streams import RangedFile, downloads, read_whole
from ..bucket.errors import BrokenCheckpointError, BucketAccessError, BucketAddressError, BucketError
from ..bucket.hub_client import reason
from ..bucket.manifest import FileRecord
from ..bucket.upload_streams import StreamedUpload
from ..bucket.writer import CheckpointBucket
from .metadata import METADATA_NAME, load_metadata


class CheckpointFiles(FileSystemBase):
    """
    The files of one checkpoint: those that this process wrote, or those that a manifest names.

    What is written goes into the storage of the bucket and has no name there: creating, renaming and removing files
    changes nothing but [`CheckpointFiles.files`], which are to be committed in the end.

    Args:
        token (`str`, *optional*):
            Token for the Hub.

    Attributes:
        run ([`CheckpointBucket`]): The run.
        name (`str`): Name of the checkpoint.
        files (`dict[str, FileRecord]`): Size and Xet hash by name.
        ranges (`dict[str, list[tuple[int, int]]]`): What will be read of a file, if not all of it.
    """

    def __init__(self, token: str | None = None):
        self._token = token
        self.files: dict[str, FileRecord] = {}
        self.ranges: Mapping[str, Sequence[tuple[int, int]]] = {}

    def init_path(self, path: str | os.PathLike) -> str:
        """Turn to a checkpoint, of which no files are known yet."""
        address = BucketAddress.parse(os.fspath(path), "checkpoint_id")
        if address.checkpoint is None:
            raise BucketAddressError(
                f"checkpoint_id={os.fspath(path)!r} names no checkpoint: add its step, as in {address}/checkpoint-500."
            )
        self.run, self.name = CheckpointBucket(address.run, token=self._token), address.checkpoint
        self.files, self.ranges = {}, {}
        return str(address)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        try:
            return BucketAddress.parse(checkpoint_id).checkpoint is not None
        except BucketAddressError:
            return False

    @contextmanager
    def create_stream(self, path: str, mode: str) -> Iterator[BinaryIO]:
        if mode == "wb":
            with StreamedUpload(self.run.api, self.run.address.bucket_id) as upload, upload.open(_name(path)) as file:
                yield file
            self.files |= upload.files
        else:
            with self._open(_name(path)) as file:
                yield file

    def concat_path(self, path: str, suffix: str) -> str:
        return f"{path}/{suffix}"

    def mkdir(self, path: str) -> None:
        """Folders are implicit in a bucket."""

    def exists(self, path: str) -> bool:
        if _name(path) in self.files:
            return True
        run, there = self.run, self.run.address.path(self.name, _name(path))
        try:
            return any(run.api.get_bucket_paths_info(run.address.bucket_id, [there]))
        except BucketNotFoundError:  # the coordinator is about to create it
            return False

    def rename(self, path: str, new_path: str) -> None:
        self.files[_name(new_path)] = self.files.pop(_name(path))

    def rm_file(self, path: str) -> None:
        self.files.pop(_name(path), None)  # what the bucket has under this name is replaced by the commit

    def _open(self, name: str) -> BinaryIO | RangedFile:
        if name not in self.files:
            raise BrokenCheckpointError(f"its .metadata names the file {name!r}, which its manifest does not know")
        stream = downloads(self.run.api, self.run.address.bucket_id)
        if name in self.ranges:
            return RangedFile(stream, self.files[name], self.ranges[name], _is_intact)
        file = read_whole(stream, self.files[name])
        if name == METADATA_NAME:
            load_metadata(file)
            file.seek(0)
        return file


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


@contextmanager
def told(what: str) -> Iterator[None]:
    """
    Let what goes wrong come out as one sentence.

    Args:
        what (`str`):
            What was under way, at which address.

    Raises:
        [`BucketAccessError`]: If the Hub refuses or does not answer.
        [`BrokenCheckpointError`]: If the content is not right.
    """
    try:
        yield
    except BrokenCheckpointError as error:
        raise BrokenCheckpointError(f"{what}: {reason(error)}") from None
    except BucketError:
        raise
    except (HTTPError, OSError) as error:
        raise BucketAccessError(f"{what}: {type(error).__name__}: {reason(error)}") from error


def _is_intact(content: bytes) -> bool:
    """Whether a tensor or object in a file is as `torch.save` wrote it: an archive, with a checksum of each part."""
    if not torch.serialization.get_crc32_options():
        return True  # who saves without checksums loads without them
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False
