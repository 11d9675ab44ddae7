"""The `.metadata` of a checkpoint of torch is a pickle: nothing in it may run."""

import pickle
from typing import BinaryIO

import torch

from ..bucket.errors import BrokenCheckpointError


METADATA_NAME = ".metadata"
_PLAIN = {
    "collections": {"OrderedDict"},
    "pathlib": {"PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "torch": {"Size"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        *["BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta"],
        *["TensorProperties", "TensorStorageMetadata", "_MEM_FORMAT_ENCODING"],
    },
    "torch.serialization": {"_get_layout"},
}


def check_metadata(file: BinaryIO) -> None:
    """
    Make sure that unpickling a file does nothing but put together what torch writes there.

    Raises:
        [`BrokenCheckpointError`]: If there is anything else in it.
    """
    try:
        _PlainUnpickler(file).load()
    except BrokenCheckpointError:
        raise
    except Exception as error:  # a garbled pickle raises anything
        raise BrokenCheckpointError(f"its .metadata is not readable ({type(error).__name__})") from None


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        is_dtype = module == "torch" and isinstance(vars(torch).get(name), torch.dtype)
        if name not in _PLAIN.get(module, ()) and not is_dtype:
            raise BrokenCheckpointError(f"its .metadata would run {module}.{name}, which torch does not write there")
        return super().find_class(module, name)
