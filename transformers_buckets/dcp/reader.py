"""`BucketStorageReader`: `torch.distributed.checkpoint` loads from a bucket what a rank needs, and no more."""

import dataclasses
import os

from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from ..bucket.checkpoint import listed
from ..bucket.errors import BrokenCheckpointError, CheckpointNotFoundError
from .files import CheckpointFiles, told
from .metadata import METADATA_NAME


class BucketStorageReader(FileSystemReader):
    """
    Loads with `torch.distributed.checkpoint` from a committed checkpoint in an HF Storage Bucket.

    Each rank fetches the ranges of the files that its part of the state lies in, with any number of ranks, and nothing
    is written to a disk. The `.metadata` is compared with the manifest by its hash, every tensor with the checksums that
    `torch.save` put beside it (unless `torch.serialization.set_crc32_options(False)` says that there are none). Beside
    what is loaded, memory holds up to 128 MiB that are on their way, or the largest tensor of a rank if that is more.

    Args:
        address (`str`):
            `hf://buckets/namespace/name[/prefix]/checkpoint-<step>`.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Raises:
        [`BucketAddressError`]: If the address does not name a checkpoint in a bucket.

    Example:

    ```python
    >>> import torch
    >>> import torch.distributed.checkpoint as dcp
    >>> from transformers_buckets import BucketStorageReader

    >>> model = torch.nn.Linear(8, 8)
    >>> state = {"model": model.state_dict()}
    >>> dcp.load(state, storage_reader=BucketStorageReader("hf://buckets/my-org/my-run/checkpoint-500"))
    >>> model.load_state_dict(state["model"])
    <All keys matched successfully>
    ```
    """

    def __init__(self, address: str, token: str | None = None):
        super().__init__(address)
        self.fs = CheckpointFiles(token)
        self.path = self.fs.init_path(address)

    def read_metadata(self, *args, **kwargs) -> Metadata:
        checkpoint = self.fs.run.find(self.fs.name)
        if checkpoint.state != "committed":
            why = listed(checkpoint.problems) or "it has no manifest, so it was not saved to its end"
            raise BrokenCheckpointError(f"{self.path} is {checkpoint.state}: {why}.")
        if METADATA_NAME not in checkpoint.manifest.files:
            raise CheckpointNotFoundError(
                f"{self.path} has no {METADATA_NAME}: it was not saved by torch.distributed.checkpoint."
            )
        self.fs.files = dict(checkpoint.manifest.files)
        with told(f"{self.path} cannot be loaded"):
            return super().read_metadata(*args, **kwargs)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        # In the order in which they lie in the files: then neighbours come in one stream.
        places = {item.storage_index: self.storage_data[item.storage_index] for item in plan.items}
        items = sorted(
            plan.items,
            key=lambda item: (places[item.storage_index].relative_path, places[item.storage_index].offset),
        )
        ranges: dict[str, set[tuple[int, int]]] = {}
        for place in places.values():
            ranges.setdefault(place.relative_path, set()).add((place.offset, place.offset + place.length))
        self.fs.ranges = {path: sorted(wanted) for path, wanted in ranges.items()}
        with told(f"{self.path} cannot be loaded"):
            return super().read_data(dataclasses.replace(plan, items=items), planner)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        return CheckpointFiles.validate_checkpoint_id(checkpoint_id)
