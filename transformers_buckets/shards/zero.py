"""Weights that DeepSpeed wrote in shards with ZeRO-3. Its own converter does the same, but runs what is in the files."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from ..bucket.errors import BrokenCheckpointError


OPTIMIZER_FILES = "*zero_pp_rank_*_optim_states.pt"  # with bf16_ in front where that is what is trained in
MODEL_FILES = "zero_pp_rank_*_model_states.pt"


class ZeroShards:
    """
    The weights in the shards of one folder, in the precision that the optimizer keeps.

    Args:
        folder (`Path`):
            `global_step<step>` of a checkpoint.

    Attributes:
        outline (`dict[str, torch.Tensor]`):
            All weights by name, as tensors without content.

    Raises:
        [`BrokenCheckpointError`]: If the folder is not what ZeRO-3 writes.
    """

    def __init__(self, folder: Path):
        optimizers = [_load(file)["optimizer_state_dict"] for file in _by_rank(folder, OPTIMIZER_FILES)]
        models = [_load(file) for file in _by_rank(folder, MODEL_FILES)]
        try:
            self._ranks = _agreed(folder, optimizers, models)
            self._flat = [rank["fp32_flat_groups"] for rank in optimizers]
            self._frozen = [rank["frozen_param_fragments"] or {} for rank in models]
            self._offsets, trained, length = _layout(models[0]["param_shapes"], self._ranks)
            if any(sum(len(group) for group in groups) != length for groups in self._flat):
                raise BrokenCheckpointError(f"{folder} does not hold the number of weights that it names")
            frozen = models[0]["frozen_param_shapes"] or {}
            self._buffers = {name: models[0]["module"][name] for name in models[0]["buffer_names"]}
            self._shared = dict(models[0]["shared_params"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise BrokenCheckpointError(f"{folder} is not what ZeRO-3 writes: {error!r}") from None
        self.outline = {
            **{name: torch.empty_like(tensor, device="meta") for name, tensor in self._buffers.items()},
            **{name: self._empty(shape, self._frozen[0][name]) for name, shape in frozen.items()},
            **{name: self._empty(shape, self._flat[0][0]) for name, shape in trained.items()},
        }
        self.outline.update({name: self.outline[same] for name, same in self._shared.items() if same in self.outline})

    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Put some of the weights together."""
        return {name: self._read(name) for name in names}

    def _empty(self, shape: torch.Size, like: torch.Tensor) -> torch.Tensor:
        return torch.empty(shape, dtype=like.dtype, device="meta")

    def _read(self, name: str) -> torch.Tensor:
        name = self._shared.get(name, name)
        if name in self._buffers:
            return self._buffers[name].clone()
        shape = self.outline[name].shape
        if name in self._offsets:
            length = _share(shape, self._ranks)
            pieces = [piece for flat in self._flat for piece in _cut(flat, self._offsets[name], length)]
        else:
            pieces = [fragments[name] for fragments in self._frozen]
        # The last rank's part is filled up to the length of the others.
        return torch.cat(pieces)[: math.prod(shape)].view(shape).clone()


class _Unneeded:
    """Stands for objects of DeepSpeed that say nothing about weights."""

    def __init__(self, *args):
        pass


_OF_DEEPSPEED = [
    (_Unneeded, f"deepspeed.{name}")
    for name in (
        "runtime.fp16.loss_scaler.LossScaler",
        "runtime.fp16.loss_scaler.DynamicLossScaler",
        "runtime.zero.config.ZeroStageEnum",
        "utils.tensor_fragment.fragment_address",
    )
]


def _load(file: Path) -> dict:
    try:
        with torch.serialization.safe_globals(_OF_DEEPSPEED):
            # What is mapped is read from disk when it is used, tensor by tensor.
            return torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # a pickle can fail in any way
        raise BrokenCheckpointError(f"{file} cannot be read: {type(error).__name__}: {error}") from None


def _by_rank(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda file: int(re.search(r"zero_pp_rank_(\d+)", file.name).group(1)))


def _agreed(folder: Path, optimizers: list[dict], models: list[dict]) -> int:
    """How many ranks wrote the shards, if the files of all of them are there."""
    counts = {rank["partition_count"] for rank in optimizers}
    if counts != {len(optimizers)} or len(models) != len(optimizers):
        raise BrokenCheckpointError(
            f"{folder} holds the shards of {len(optimizers)} optimizers and {len(models)} models, "
            f"and should hold those of {max(counts, default='some')} ranks"
        )
    return len(optimizers)


def _layout(
    groups: Iterable[Mapping[str, torch.Size]], ranks: int
) -> tuple[dict[str, int], dict[str, torch.Size], int]:
    """Where the part of each weight begins in what a rank holds, the shape of the whole, and how much a rank holds."""
    shapes = {name: shape for group in groups for name, shape in group.items()}
    offsets, offset = {}, 0
    for name, shape in shapes.items():
        offsets[name] = offset
        offset += _share(shape, ranks)
    return offsets, shapes, offset


def _share(shape: torch.Size, ranks: int) -> int:
    return math.ceil(math.prod(shape) / ranks)


def _cut(groups: Iterable[torch.Tensor], start: int, length: int) -> Iterable[torch.Tensor]:
    """A stretch of tensors that follow one another."""
    for group in groups:
        if start < len(group) and length:
            yield (piece := group[start : start + length])
            length -= len(piece)
            start += len(piece)
        start -= len(group)
