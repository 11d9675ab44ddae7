"""The `.metadata` of a checkpoint of torch is a pickle: nothing in it may run."""

import pickle
from pathlib import PurePosixPath
from typing import BinaryIO

import torch
from torch.distributed.checkpoint import filesystem, metadata

from ..bucket.errors import BrokenCheckpointError


METADATA_NAME = ".metadata"


def load_metadata(file: BinaryIO) -> metadata.Metadata:
    """
    Read a `.metadata`, and make sure that unpickling it does nothing but put together what torch writes there.

    Args:
        file (`BinaryIO`):
            The file.

    Raises:
        [`BrokenCheckpointError`]: If there is anything else in it.
    """
    try:
        found = _PlainUnpickler(file).load()
    except BrokenCheckpointError:
        raise
    except Exception as error:  # a garbled pickle raises anything
        raise BrokenCheckpointError(f"its .metadata is not readable ({type(error).__name__})") from None
    if not isinstance(found, metadata.Metadata):
        raise BrokenCheckpointError(f"its .metadata is a {type(found).__name__}, which torch does not write there")
    return found


class _PlainUnpickler(pickle.Unpickler):
    _KNOWN = {
        (kind.__module__, kind.__qualname__): kind
        for kind in (
            metadata.Metadata,
            metadata.MetadataIndex,
            metadata.StorageMeta,
            metadata.TensorStorageMetadata,
            metadata.BytesStorageMetadata,
            metadata.ChunkStorageMetadata,
            metadata.TensorProperties,
            metadata._MEM_FORMAT_ENCODING,
            filesystem._StorageInfo,
            torch.Size,
            torch.serialization._get_layout,
        )
    }

    def find_class(self, module: str, name: str):
        if (module, name) in self._KNOWN:
            return self._KNOWN[module, name]
        if (module, name) == ("collections", "OrderedDict"):
            return super().find_class(module, name)
        if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
            return vars(torch)[name]
        if module.partition(".")[0] == "pathlib" and name.endswith("Path"):
            return PurePosixPath  # where it was saved
        raise BrokenCheckpointError(f"its .metadata would run {module}.{name}, which torch does not write there")
