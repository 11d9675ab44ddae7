"""A snapshot: the large files of a checkpoint, fixed in memory at the save and written when training has gone on."""

import copy
import logging
import os
import sys
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import BinaryIO

import torch

from .tensor_stream import save_tensors


logger = logging.getLogger(__name__)

# The functions that write large files, by the names under which they are called, and what does the same into a stream. What
# is written in any other way is written at once: a name that is missing here costs time, never content.
_SAVERS = (
    ("torch", "save", torch.save),
    ("safetensors.torch", "save_file", save_tensors),
    ("transformers.modeling_utils", "safe_save_file", save_tensors),
    ("peft.peft_model", "safe_save_file", save_tensors),
)
# Whoever consists of these alone, and of tensors, is the same after a copy and refers to nothing else.
_VALUES = {bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size}
_TENSORS = {torch.Tensor, torch.nn.Parameter}
_DEVICES = {"cpu", "cuda"}
_LARGE = 1024 * 1024  # bytes; a file of this size is worth a line if training had to wait for it


class Buffers:
    """Memory of the host for the copies of one snapshot after the other. What the last one had, the next one gets."""

    def __init__(self):
        self._taken: list[torch.Tensor] = []
        self._free: dict[int, list[torch.Tensor]] = {}

    def renew(self) -> None:
        """Begin a snapshot: those before are written."""
        self._free = defaultdict(list)
        for buffer in self._taken:
            self._free[buffer.numel()].append(buffer)
        self._taken = []

    def settle(self) -> None:
        """End a snapshot: what it did not need is given back, and all copies are there."""
        self._free = {}
        if any(buffer.is_pinned() for buffer in self._taken):
            torch.cuda.synchronize()

    def copy(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        """A copy of a storage, in memory of the host."""
        size, is_pinned = storage.nbytes(), storage.device.type == "cuda"
        free = self._free.get(size)
        buffer = free.pop() if free else torch.empty(size, dtype=torch.uint8, pin_memory=is_pinned)
        self._taken.append(buffer)
        source = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        buffer.copy_(source, non_blocking=is_pinned)
        return buffer.untyped_storage()


@dataclass(frozen=True)
class Payload:
    """
    One file that is not written yet.

    Args:
        write (`Callable`):
            Writes a content to a path.
        stream (`Callable`):
            Writes a content into a binary file.
        content (`Any`):
            Plain containers and values, and tensors that nobody else has.
        size (`int`):
            Bytes of its tensors.
    """

    write: Callable[[object, str], None]
    stream: Callable[[object, BinaryIO], None]
    content: object
    size: int


class Snapshot:
    """
    The files that were fixed during one save.

    Args:
        buffers ([`Buffers`]):
            Where the copies of tensors go. One snapshot at a time has them.
    """

    def __init__(self, buffers: Buffers):
        self.buffers = buffers
        self._payloads: dict[str, Payload] = {}
        self.written_at_once: set[str] = set()  # large files that could not be fixed

    @contextmanager
    def fixing(self, folder: str | Path) -> Iterator[None]:
        """
        In this context, files that this thread saves into a folder with torch or safetensors are fixed rather than written.

        So the code that knows what a checkpoint consists of runs unchanged, on live state, while training stands still. What
        cannot be fixed for sure, a tensor subclass, an object of any class, is written at once, as usual.

        Args:
            folder (`str` or `Path`):
                The folder, as an absolute path.
        """
        thread = threading.get_ident()

        def instead_of(save: Callable, stream: Callable) -> Callable:
            @wraps(save)
            def fix(*args, **kwargs):
                is_ours = len(args) > 1 and isinstance(args[1], (str, os.PathLike))
                if threading.get_ident() != thread or not is_ours or not Path(args[1]).is_relative_to(folder):
                    return save(*args, **kwargs)
                content, path, *rest = args
                write, into = (
                    (lambda content, target, how=how: how(content, target, *rest, **kwargs)) for how in (save, stream)
                )
                self._fix(write, into, content, os.fspath(path))

            return fix

        self.buffers.renew()
        with ExitStack() as stack:
            for module, name, stream in _SAVERS:
                stack.enter_context(replaced(module, name, lambda save, stream=stream: instead_of(save, stream)))
            yield
        self.buffers.settle()

    def _fix(self, write: Callable, stream: Callable, content: object, path: str) -> None:
        self._payloads.pop(path, None)
        tensors = tensors_in(content)
        if tensors:
            Path(path).unlink(missing_ok=True)  # an earlier one. What lies there from now on was written later
            size = sum(tensor.nbytes for tensor in tensors)
            self._payloads[path] = Payload(write, stream, fixed(content, tensors, self.buffers), size)
            return
        write(content, path)
        if os.path.getsize(path) > _LARGE:
            self.written_at_once.add(os.path.basename(path))

    def payloads(self, folder: str | Path) -> dict[str, Payload]:
        """The files that are not written yet, by their path in a folder."""
        return {Path(path).relative_to(folder).as_posix(): payload for path, payload in self._payloads.items()}

    def write(self) -> None:
        """Write the files. Each content is forgotten as soon as it is on disk."""
        while self._payloads:
            path = next(iter(self._payloads))
            payload = self._payloads.pop(path)
            payload.write(payload.content, path)


@contextmanager
def replaced(module_name: str, name: str, by: Callable[[Callable], Callable]) -> Iterator[None]:
    """In this context a function is another one, made of the first."""
    module = sys.modules.get(module_name)
    before = module and vars(module).get(name)
    if before is None:  # a library that is not in use, or a version that has another name for it
        yield
        return
    setattr(module, name, by(before))
    try:
        yield
    finally:
        setattr(module, name, before)


def tensors_in(content: object) -> list[torch.Tensor] | None:
    """
    The tensors that a content holds.

    Args:
        content (`Any`):
            What is about to be saved.

    Returns:
        `list[torch.Tensor]`, *optional*: `None` if there is anything in it that may refer to what is live.
    """
    tensors, seen, left = [], set(), [content]
    while left:
        thing = left.pop()
        kind = type(thing)
        if kind in _VALUES or id(thing) in seen:
            continue
        seen.add(id(thing))
        if kind in (list, tuple):
            left += thing
        elif kind in (dict, OrderedDict):
            left += [*thing.keys(), *thing.values(), *getattr(thing, "__dict__", {}).values()]
        elif kind in _TENSORS and _is_plain(thing):
            tensors.append(thing)
        else:
            return None
    return tensors


def _is_plain(tensor: torch.Tensor) -> bool:
    is_dense = tensor.layout is torch.strided and not tensor.is_quantized and tensor.device.type in _DEVICES
    return is_dense and not (tensor.is_conj() or tensor.is_neg() or vars(tensor))


def fixed(content: object, tensors: list[torch.Tensor], buffers: Buffers) -> object:
    """
    A copy of a content that shares nothing with it. What shared memory in it still does: it is saved byte for byte the same.

    Args:
        content (`Any`):
            What is about to be saved.
        tensors (`list[torch.Tensor]`):
            What [`tensors_in`] found in it.
        buffers ([`Buffers`]):
            Where the copies of tensors go.
    """
    storages: dict[int, torch.UntypedStorage] = {}
    copies: dict[int, torch.Tensor] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        key = storage.data_ptr() or id(tensor)
        if key not in storages:
            storages[key] = buffers.copy(storage)
        place = tensor.storage_offset(), tensor.size(), tensor.stride()
        copied = torch.empty(0, dtype=tensor.dtype).set_(storages[key], *place)
        if type(tensor) is torch.nn.Parameter:
            copied = torch.nn.Parameter(copied, requires_grad=tensor.requires_grad)
        copies[id(tensor)] = copied.requires_grad_(tensor.requires_grad)
    return copy.deepcopy(content, copies)
