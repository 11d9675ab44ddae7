"""A checkpoint becomes a model that `from_pretrained` loads, whatever its weights are in."""

import json
import logging
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from .bucket.contents import is_weights, matches, model_files
from .bucket.errors import BrokenCheckpointError, BucketError
from .bucket.fetch import fetch
from .bucket.writer import CheckpointBucket
from .resume import at_address
from .shards import fsdp, zero


logger = logging.getLogger(__name__)

_FSDP = f"{fsdp.FOLDER_NAME}/*"
_ZERO = (f"global_step*/{zero.MODEL_FILES}", f"global_step*/{zero.OPTIMIZER_FILES}")


def export(address: str, folder: str | Path, token: str | None = None, max_file_size: int | str = "5GB") -> Path:
    """
    Make a model folder of a checkpoint in a bucket: its configuration and tokenizer, and its weights as safetensors.

    Shards of FSDP and of DeepSpeed ZeRO-3 are put together on the CPU, without the processes that wrote them. Needs disk for
    the shards and the model, and memory for one file of the model. ZeRO-3 gives the weights in the optimizer's precision.

    Args:
        address (`str`):
            `hf://buckets/namespace/name[/prefix][/checkpoint-<step>]`. Without a checkpoint, the latest.
        folder (`str` or `Path`):
            Where to; must not exist, or be empty.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        max_file_size (`int` or `str`, *optional*, defaults to `"5GB"`):
            The weights are split into files of at most this size, in bytes or with a unit. A tensor that is larger gets a
            file of its own.

    Returns:
        `Path`: The folder.

    Raises:
        [`CheckpointNotFoundError`]: If there is no such checkpoint.
        [`BrokenCheckpointError`]: If it is broken, or its shards cannot be read.
        [`BucketAccessError`]: If the bucket cannot be read.
        [`BucketError`]: If `folder` holds something, or the checkpoint no weights.

    Example:

    ```python
    >>> from transformers_buckets.export import export

    >>> export("hf://buckets/my-org/my-run/checkpoint-500", "my-model")
    PosixPath('my-model')
    ```
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BucketError(f"{folder} is there already: name a folder that is not, or an empty one.")
    source = at_address(address, token, argument="address")
    name, problems = source.checkpoint.name, source.checkpoint.problems
    if problems:
        raise BrokenCheckpointError(f"{source.address}/{name} is broken: {', '.join(problems[:3])}.")
    manifest = source.checkpoint.manifest
    wanted = _wanted(manifest.files)
    if not wanted:
        raise BucketError(
            f"{source.address}/{name} holds no weights: neither files of them nor shards of FSDP or ZeRO-3."
        )
    # Not under its name before it is complete. What has arrived when it is interrupted is used by the next attempt.
    arriving = folder.with_name(f"{folder.name}.partial")
    api = CheckpointBucket(source.address, token=token).api
    files = {path: manifest.files[path] for path in wanted}
    if wrong := fetch(api, source.address.below(name), replace(manifest, files=files), arriving / "checkpoint"):
        raise BrokenCheckpointError(
            f"{source.address}/{name} did not arrive as it was committed: {', '.join(wrong[:3])}."
        )
    model = arriving / "model"
    shutil.rmtree(model, ignore_errors=True)
    _make_model(arriving / "checkpoint", wanted, model, max_file_size)
    if not any(matches(path, ("config.json", "adapter_config.json")) for path in wanted):
        logger.warning(
            f"{source.address}/{name} has no configuration: put the config.json of the model into {folder}."
        )
    if folder.exists():
        folder.rmdir()
    model.rename(folder)
    shutil.rmtree(arriving)
    return folder


def _wanted(paths: Collection[str]) -> list[str]:
    """The files of a checkpoint that its model is made of; none if there are no weights among them."""
    model = model_files(paths)
    if any(is_weights(path) for path in model):
        return model
    shards = [path for path in paths if matches(path, (_FSDP, *_ZERO))]
    return model + shards if shards else []


def _make_model(checkpoint: Path, files: Collection[str], model: Path, max_file_size: int | str) -> None:
    beside = model_files(files)
    for path in beside:
        (model / path).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / path).rename(model / path)
    shards = next((path for path in files if path not in beside), None)
    if shards is None:
        return
    model.mkdir(exist_ok=True)
    parts = checkpoint / shards.split("/")[0]
    weights = fsdp.FsdpShards(parts) if matches(shards, (_FSDP,)) else zero.ZeroShards(parts)
    _write(weights, model, "adapter_model" if "adapter_config.json" in beside else "model", max_file_size)


def _write(weights: "fsdp.FsdpShards | zero.ZeroShards", folder: Path, name: str, max_file_size: int | str) -> None:
    split = split_torch_state_dict_into_shards(
        weights.outline, filename_pattern=f"{name}{{suffix}}.safetensors", max_shard_size=max_file_size
    )
    for file, tensors in split.filename_to_tensors.items():
        save_file(weights.read(tensors), folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / f"{name}.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
