"""Weights that FSDP wrote in shards, a folder in the format of `torch.distributed.checkpoint`."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, metadata

from ..bucket.errors import BrokenCheckpointError
from ..dcp.metadata import METADATA_NAME, load_metadata


FOLDER_NAME = "pytorch_model_fsdp_0"  # as Accelerate calls it
# Accelerate saves {"model": weights}.
_WEIGHTS = "model"


class FsdpShards:
    """
    The weights in the shards of one folder.

    Args:
        folder (`Path`):
            The folder.

    Attributes:
        outline (`dict[str, torch.Tensor]`):
            All weights by name, as tensors without content.

    Raises:
        [`BrokenCheckpointError`]: If the folder is not what FSDP writes.
    """

    def __init__(self, folder: Path):
        self._metadata = read_metadata(folder)
        self._reader = FileSystemReader(folder)
        self._reader.set_up_storage_reader(self._metadata, is_coordinator=True)
        self._paths = {
            path[1]: key for key, path in self._metadata.planner_data.items() if path[0] == _WEIGHTS and len(path) == 2
        }
        stored = self._metadata.state_dict_metadata
        self.outline = {
            name: torch.empty(stored[key].size, dtype=stored[key].properties.dtype, device="meta")
            for name, key in self._paths.items()
            if isinstance(stored[key], metadata.TensorStorageMetadata)
        }
        if not self.outline:
            raise BrokenCheckpointError(f"{folder} holds no weights, or not as Accelerate saves them with FSDP")

    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Put some of the weights together."""
        weights = {name: torch.empty_like(self.outline[name], device="cpu") for name in names}
        planner = DefaultLoadPlanner()
        planner.set_up_planner({self._paths[name]: weights[name] for name in weights}, self._metadata, True)
        self._reader.read_data(planner.create_local_plan(), planner).wait()
        return weights


def read_metadata(folder: Path) -> metadata.Metadata:
    """
    What a folder of shards holds, and in which files. The file is a pickle: nothing in it is run that is not known here.

    Args:
        folder (`Path`):
            The folder.

    Raises:
        [`BrokenCheckpointError`]: If it is not there, refers to anything else, or to files outside the folder.
    """
    file = folder / METADATA_NAME
    try:
        with file.open("rb") as stream:
            found = load_metadata(stream)
    except (BrokenCheckpointError, OSError) as error:
        raise BrokenCheckpointError(f"{folder} cannot be read: {error}") from None
    files = {info.relative_path for info in found.storage_data.values()}
    if outside := sorted(name for name in files if Path(name).name != name or name in (".", "..")):
        raise BrokenCheckpointError(f"{file} names {outside[0]!r}, which is not in its folder")
    return found
