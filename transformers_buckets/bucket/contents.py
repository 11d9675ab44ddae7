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
# As `save_pretrained` names what belongs to a model besides its weights, wherever that is saved.
MODEL_NAMES = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.spm",
    "spiece.model",
    "sentencepiece*.model",
    "chat_template.*",
    "*processor_config.json",
)
# What else is part of a model if it is in a checkpoint. Elsewhere files of these names may be of anything.
_MODEL = (
    *MODEL_NAMES,
    *_WEIGHTS,
    *("*.safetensors", "*.safetensors.index.json", "value_head.bin", "mm_projector.bin", "non_lora_trainables.bin"),
    *("*config.json", "config_*.json", "model_index.json", "additional_chat_templates/*", "*.jinja"),
    *("vocab*", "*_vocab.json", "*.model", "*.tiktoken", "*.tokenizer", "bpe.codes", "dict.txt"),
    *("normalizer.json", "emoji.json", "byte_maps.json", "word_shape.json", "word_pronunciation.json"),
    *("*.py", "README.md"),  # code that the configuration names, and what that imports
)
# What a folder in a checkpoint has if it is a part of the model, such as a module of sentence-transformers or an adapter.
_PART = (*_WEIGHTS, "*.safetensors", "*config.json")
# Weights of other frameworks, and what tells a loader what a model is. Both are of one model only.
_OTHER_WEIGHTS = (
    "tf_model*.h5",
    "tf_model.h5.index.json",
    "flax_model*.msgpack",
    "flax_model.msgpack.index.json",
    "rust_model.ot",
)
_KINDS = ("config.json", "adapter_config.json", "modules.json", "model_index.json")
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
    """
    Those files of a checkpoint that a model repository would hold: weights, configuration, tokenizer, code of the model.

    They are known by their names, and by those beside them in a folder. If no weights are among them, in shards neither, the
    model is of a kind that nobody knows: then it is everything but the state of the training.
    """
    paths = list(paths)
    state = {*_training_state(paths), TRAINING_ARGS_NAME}
    rest = [path for path in paths if path not in state]
    parts = {path.split("/")[0] for path in rest if "/" in path and matches(_name(path), _PART)}
    known = [
        path
        for path in rest
        if (path.split("/")[0] in parts and not matches(_name(path), _TRAINING_STATE))
        or (matches(path, _MODEL) and ("/" not in path or matches(path, ("additional_chat_templates/*",))))
    ]
    has_any = may_hold_weights(paths) or any(is_weights(path) or path.endswith(".safetensors") for path in known)
    return known if has_any else rest


def replaced_files(there: Iterable[str], files: Iterable[str]) -> list[str]:
    """
    Those files of a model repository that must go when another model comes there: a loader would take them for part of it.

    Args:
        there (`Iterable[str]`):
            What the repository holds.
        files (`Iterable[str]`):
            What comes.
    """
    files = set(files)
    mislead = _WEIGHTS + _OTHER_WEIGHTS + (_KINDS if any(path in _KINDS for path in files) else ())
    return sorted(path for path in set(there) - files if "/" not in path and matches(path, mislead))


def _training_state(paths: Iterable[str]) -> list[str]:
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

    return [path for path in paths if is_state(path)]


def may_hold_weights(paths: Iterable[str]) -> bool:
    """Whether a model may be loaded from the state of the training in a checkpoint: from shards, or from FSDP's own copy."""
    return any("/" in path or matches(path, [_OF_FSDP]) for path in _training_state(paths))


def vital_files(paths: Iterable[str]) -> list[str]:
    """Those files of a checkpoint without which it cannot be resumed: weights, and the state of the training."""
    paths = list(paths)
    state = set(_training_state(paths))
    return [path for path in paths if path in state or is_weights(path)]


def is_weights(path: str) -> bool:
    """Whether a file name at the root of a run is that of model weights, of whatever sharding."""
    return matches(_name(path), _WEIGHTS)


def has_weights(paths: Iterable[str]) -> bool:
    """Whether weights are among these files, in whatever format and sharding."""
    paths = list(paths)
    if any("/" in path and matches(path.split("/")[0], _SHARDED_WEIGHTS) for path in paths):
        return True
    rest = set(paths) - {*_training_state(paths), TRAINING_ARGS_NAME}
    return any(PurePosixPath(path).suffix not in _NO_WEIGHTS for path in rest)


def has_optimizer(paths: Iterable[str]) -> bool:
    """Whether the state of an optimizer is among these files."""
    return any(
        path.startswith("optimizer.") or ("/" in path and matches(path.split("/")[0], _SHARDED_OPTIMIZER))
        for path in paths
    )


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of these shell patterns, by case."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
