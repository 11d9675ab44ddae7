"""What the files of a checkpoint are: those of the model, those of the training, and what its trainer state knows."""

import fnmatch
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from .address import CHECKPOINT_NAME


TRAINER_STATE_NAME = "trainer_state.json"
TRAINING_ARGS_NAME = "training_args.bin"

_OF_FSDP = "pytorch_model_fsdp*.bin"  # FSDP's own copy of the weights
# State of the training rather than of the model. What is left makes up the root snapshot.
_TRAINING_STATE = (
    TRAINER_STATE_NAME,
    "optimizer.*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "latest",  # DeepSpeed's pointer to its own folder
    "zero_to_*.py",  # and its scripts
    _OF_FSDP,
)
# DeepSpeed writes both to one folder, FSDP to one each.
_SHARDED_WEIGHTS = ("global_step*", "pytorch_model_fsdp_*")
_SHARDED_OPTIMIZER = ("global_step*", "optimizer_*")
# Weights as `save_pretrained` and PEFT name them. Other tensors that a user keeps at the root are not ours to replace.
_WEIGHTS = tuple(
    f"{name}*.{kind}"
    for name in ("model", "pytorch_model", "adapter_model")
    for kind in ("safetensors", "safetensors.index.json", "bin", "bin.index.json")
)
# What `save_pretrained` writes beside weights.
_NO_WEIGHTS = {".json", ".txt", ".md", ".py", ".jinja", ".yaml", ".yml", ".model", ".csv", ".tsv", ".log", ".html"}


def best_checkpoint(folder: str | Path) -> str | None:
    """Name of the best checkpoint that the trainer state in a checkpoint knows; `None` if it knows none."""
    try:
        state = json.loads((Path(folder) / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        return name_of_best(state["best_model_checkpoint"], state["best_global_step"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def name_of_best(path: str | None, step: int | None) -> str | None:
    """
    Name of the best checkpoint, from what a trainer state knows of it; `None` if that is nothing.

    Args:
        path (`str`, *optional*):
            Its path. Lost where the best checkpoint was not on the disk of a resumed run.
        step (`int`, *optional*):
            Its step.
    """
    name = (path or f"checkpoint-{step}").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    # The state may come from a bucket: what is not the name of a checkpoint goes nowhere near a path.
    return name if CHECKPOINT_NAME.match(name) else None


def model_files(paths: Iterable[str]) -> list[str]:
    """Those files of a checkpoint that a model repository would hold: weights, configuration, tokenizer."""
    paths = list(paths)
    # `torch.distributed.checkpoint` gives no name to its folder; it leaves a `.metadata` in it.
    sharded = {os.path.dirname(path) for path in paths if os.path.basename(path) == ".metadata"}

    def is_state(path: str) -> bool:
        first, *rest = path.split("/")
        return (
            matches(path, _TRAINING_STATE)
            or bool(rest and matches(first, _SHARDED_WEIGHTS + _SHARDED_OPTIMIZER))
            or os.path.dirname(path) in sharded
        )

    return [path for path in paths if not is_state(path)]


def may_hold_weights(state: Iterable[str]) -> bool:
    """Whether a model may be loaded from files that are not those of [`model_files`]: from shards, or from FSDP's own copy."""
    return any("/" in path or matches(path, [_OF_FSDP]) for path in state)


def vital_files(paths: Iterable[str]) -> list[str]:
    """Those files of a checkpoint without which it cannot be resumed: weights, and the state of the training."""
    paths = list(paths)
    model = set(model_files(paths))
    return [path for path in paths if path not in model or is_weights(path)]


def is_weights(path: str) -> bool:
    """Whether a file name at the root of a run is that of model weights, of whatever sharding."""
    return matches(path.rsplit("/", 1)[-1], _WEIGHTS)


def has_weights(paths: Iterable[str]) -> bool:
    """Whether weights are among these files, in whatever format and sharding."""
    if any("/" in path and matches(path.split("/")[0], _SHARDED_WEIGHTS) for path in paths):
        return True
    rest = (PurePosixPath(path) for path in model_files(paths) if path != TRAINING_ARGS_NAME)
    return any(path.suffix not in _NO_WEIGHTS for path in rest)


def has_optimizer(paths: Iterable[str]) -> bool:
    """Whether the state of an optimizer is among these files."""
    return any(
        path.startswith("optimizer.") or ("/" in path and matches(path.split("/")[0], _SHARDED_OPTIMIZER))
        for path in paths
    )


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of these shell patterns, by case."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
