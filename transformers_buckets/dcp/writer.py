"""`BucketStorageWriter`: `torch.distributed.checkpoint` saves into a bucket, and nothing touches a disk."""

import logging
import os

import torch
from huggingface_hub.errors import HTTPError
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from ..bucket.commit import commit
from ..bucket.errors import BucketError
from ..bucket.hub_client import reason
from ..bucket.manifest import FileRecord
from .files import CheckpointFiles, told


logger = logging.getLogger(__name__)


class BucketStorageWriter(FileSystemWriter):
    """
    Saves with `torch.distributed.checkpoint` into an HF Storage Bucket.

    Each rank streams its shards from memory into the storage of the bucket. When all are there, the coordinator gives
    them their names and commits the checkpoint with a manifest, as that of a [`Trainer`] is. Killed before that, the
    bucket is as it was. Files are those of torch's own `FileSystemWriter`, in a checkpoint that
    [`CheckpointBucket`] and the commands list, verify, pull and delete.

    Args:
        address (`str`):
            `hf://buckets/namespace/name[/prefix]/checkpoint-<step>`. The bucket is created if there is none. To use the
            same writer for another checkpoint, pass its address as `checkpoint_id` to `save`.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        options (`Any`):
            More arguments of `FileSystemWriter`, such as `thread_count` or `overwrite`.

    Raises:
        [`BucketAddressError`]: If the address does not name a checkpoint in a bucket.

    Example:

    ```python
    >>> import torch
    >>> import torch.distributed.checkpoint as dcp
    >>> from transformers_buckets import BucketStorageWriter

    >>> state = {"model": torch.nn.Linear(8, 8).state_dict()}
    >>> dcp.save(state, storage_writer=BucketStorageWriter("hf://buckets/my-org/my-run/checkpoint-500"))
    ```
    """

    def __init__(self, address: str, token: str | None = None, **options):
        super().__init__(address, sync_files=False, **options)
        self.fs = CheckpointFiles(token)
        self.path = self.fs.init_path(address)

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        super().reset(checkpoint_id or self.path)  # a path that is set again is one of which nothing is written yet

    def set_up_storage_writer(self, is_coordinator: bool, *args, **kwargs) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if not kwargs.get("use_collectives", True):
            raise ValueError(
                "use_collectives=False: without it nobody knows when all ranks have written, so nothing can be "
                "committed. Leave it out."
            )
        if is_coordinator:
            self.fs.run.create(argument="checkpoint_id")

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        with told(f"{self.path} was not saved"):
            written = super().write_data(plan, planner).value()
            if len(written) != len(
                plan.items
            ):  # an error in one of torch's writing threads ends nothing but the thread
                raise RuntimeError(f"{len(plan.items) - len(written)} of {len(plan.items)} items could not be written")
        # What the coordinator needs to know about the files travels as torch's own results do.
        files = [WriteResult(MetadataIndex(path), record.size, record) for path, record in self.fs.files.items()]
        future = Future()
        future.set_result(written + files)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        everything = [result for rank in results for result in rank]
        items = [result for result in everything if not isinstance(result.storage_data, FileRecord)]
        files = {
            result.index.fqn: result.storage_data
            for result in everything
            if isinstance(result.storage_data, FileRecord)
        }
        with told(f"{self.path} was not committed"):
            super().finish(metadata, [items])
            versions = {"torch": torch.__version__}
            manifest = commit(self.fs.run, self.fs.name, files | self.fs.files, len(results), versions)
        try:
            self.fs.run.root.refresh(manifest)
        except (HTTPError, OSError, BucketError) as error:  # the checkpoint is committed all the same
            logger.warning(f"{self.path} is committed, but the file of its run is not up to date: {reason(error)}")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        return CheckpointFiles.validate_checkpoint_id(checkpoint_id)
