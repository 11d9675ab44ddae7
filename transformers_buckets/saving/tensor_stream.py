"""Tensors go into a stream as safetensors writes them into a file, without a second copy of them in memory."""

import json
import struct
from collections.abc import Mapping
from typing import BinaryIO

import torch
from safetensors.torch import save


_METADATA = "__metadata__"
_PARTS_OF_BYTES = ("F4", "F6")  # types whose shape in the header is not that of the tensor


def save_tensors(
    tensors: Mapping[str, torch.Tensor], file: BinaryIO, metadata: Mapping[str, str] | None = None
) -> None:
    """
    Write what `safetensors.torch.save_file` would write, byte for byte.

    Args:
        tensors (`Mapping[str, torch.Tensor]`):
            Dense tensors in memory of the host, by name.
        file (`BinaryIO`):
            Where to, from its beginning to its end.
        metadata (`Mapping[str, str]`, *optional*):
            Goes into the header.
    """
    header = _header({name: torch.empty(0, dtype=tensor.dtype) for name, tensor in tensors.items()}, metadata)
    if any(entry.get("dtype", "").startswith(_PARTS_OF_BYTES) for entry in header.values()):
        file.write(save(dict(tensors), metadata))
        return
    end, names = 0, [name for name in header if name != _METADATA]
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        header[name].update(shape=list(tensors[name].shape), data_offsets=[begin, end])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        file.write(tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def _header(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None) -> dict[str, dict]:
    """The header that safetensors writes for some tensors. It knows the names of types, and in which order they come."""
    content = save(dict(tensors), metadata)
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])
