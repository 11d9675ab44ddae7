"""A checkpoint as a folder on local disk: its files, their hashes, and which of them make up the model."""

import fnmatch
import json
import os
import pickletools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from .bucket_address import CHECKPOINT_NAME
from .manifest import MANIFEST_NAME, FileRecord, Manifest


# In a checkpoint while transformers still writes it on SIGTERM (see `trainer_jit_checkpoint.py` there), and while
# `async_save` still writes it, which says so in the file.
SENTINEL_NAME = "checkpoint-is-incomplete.txt"
_WRITTEN_IN_BACKGROUND = "This checkpoint is being written in the background."
TRAINER_STATE_NAME = "trainer_state.json"
TRAINING_ARGS_NAME = "training_args.bin"
# The folder in `output_dir` for the outbox and for downloads. The Hub push of transformers ignores a leading `_`.
WORK_FOLDER = "_bucket"
_NOT_UPLOADED = {MANIFEST_NAME, SENTINEL_NAME}

# State of the training rather than of the model. What is left makes up the root snapshot.
_TRAINING_STATE = (
    TRAINER_STATE_NAME,
    "optimizer.*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "latest",  # DeepSpeed's pointer to its own folder
    "zero_to_fp32.py",
)
_TRAINING_STATE_FOLDERS = ("global_step*", "pytorch_model_fsdp_*", "optimizer_*")  # DeepSpeed and FSDP
# Weights as `save_pretrained` and PEFT name them. Other tensors that a user keeps at the root are not ours to replace.
_WEIGHTS = tuple(
    f"{name}*.{kind}"
    for name in ("model", "pytorch_model", "adapter_model")
    for kind in ("safetensors", "safetensors.index.json", "bin", "bin.index.json")
)
_EMPTY_HASH = "0" * 64


def scan(folder: str | Path) -> dict[str, Path]:
    """Every file of a checkpoint by its path inside it, links and what must not be uploaded left out."""
    return {path: file for path, file in _walk(folder) if path not in _NOT_UPLOADED}


def stamp(file: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds: while they stay, nobody has written into the file."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def scan_outside_checkpoints(output_dir: str | Path) -> dict[str, Path]:
    """
    What a training leaves in `output_dir` beside its checkpoints: logs, model card, tokenizer, weights.

    As in the Hub push of transformers, names that begin with `_` do not count; neither do hidden ones.
    """
    return dict(_walk(output_dir, skip=("_*", ".*", "checkpoint-*")))


def _walk(folder: str | Path, skip: tuple[str, ...] = (), below: str = "") -> Iterator[tuple[str, Path]]:
    # `os.walk` and `pathlib` do the same with many more calls, and a save waits for this.
    try:
        found = list(os.scandir(folder))
    except OSError:  # it is not there, or not any more
        return
    for entry in found:
        if _matches(entry.name, skip) or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _walk(entry.path, skip, f"{below}{entry.name}/")
        else:
            yield below + entry.name, Path(entry.path)


def hash_files(files: Mapping[str, Path]) -> dict[str, FileRecord]:
    """Size and Xet hash of local files, computed as the Hub computes them."""
    from hf_xet import hash_files as xet_hash_files

    if not files:
        return {}
    infos = xet_hash_files([str(file) for file in files.values()])
    return {path: FileRecord(info.file_size, info.hash) for path, info in zip(files, infos, strict=True)}


def compare(folder: Path, manifest: Manifest) -> list[str]:
    """
    Why a folder on disk is not the checkpoint its manifest describes; empty if it is, byte for byte.

    Sizes come first: contents are read only if every size is right. Files the manifest does not know do not count.
    """
    files = {path: folder / path for path in manifest.files if (folder / path).is_file()}
    by_size = {path: FileRecord(file.stat().st_size, manifest.files[path].xet_hash) for path, file in files.items()}
    return manifest.differences(by_size) or manifest.differences(hash_files(files))


def is_whole(folder: Path) -> bool:
    """Whether transformers finished writing this checkpoint: the trainer state comes last, the sentinel file goes last."""
    return (folder / TRAINER_STATE_NAME).is_file() and not (folder / SENTINEL_NAME).exists()


def begin_writing(folder: str | Path) -> None:
    """Mark a checkpoint as incomplete, before its first file, until [`end_writing`]."""
    os.makedirs(folder, exist_ok=True)
    Path(folder, SENTINEL_NAME).write_text(_WRITTEN_IN_BACKGROUND)


def end_writing(folder: str | Path) -> None:
    """Take that mark away, also from a checkpoint whose process was killed over it. Other marks stay."""
    if _mark(folder) == _WRITTEN_IN_BACKGROUND:
        Path(folder, SENTINEL_NAME).unlink()


def is_urgent(folder: str | Path) -> bool:
    """Whether transformers saves this checkpoint because a SIGTERM came, with a SIGKILL to follow."""
    return _mark(folder) not in (None, _WRITTEN_IN_BACKGROUND)


def _mark(folder: str | Path) -> str | None:
    try:
        return Path(folder, SENTINEL_NAME).read_text(encoding="utf-8")
    except OSError:
        return None


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


def holds_token(folder: str | Path) -> bool:
    """Whether the training arguments saved in a folder hold a token for the Hub, in plain text. Nothing is unpickled."""
    try:
        with zipfile.ZipFile(Path(folder) / TRAINING_ARGS_NAME) as archive:
            (pickled,) = (archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
        operations = [op for op in pickletools.genops(pickled) if "PUT" not in op[0].name]
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return any(key == "hub_token" and value.name != "NONE" for (_, key, _), (value, _, _) in pairwise(operations))


def model_files(paths: Iterable[str]) -> list[str]:
    """Those files of a checkpoint that a model repository would hold: weights, configuration, tokenizer."""
    paths = list(paths)
    # `torch.distributed.checkpoint` gives no name to its folder; it leaves a `.metadata` in it.
    sharded = {os.path.dirname(path) for path in paths if os.path.basename(path) == ".metadata"}

    def is_state(path: str) -> bool:
        first, *rest = path.split("/")
        return (
            _matches(path, _TRAINING_STATE)
            or bool(rest and _matches(first, _TRAINING_STATE_FOLDERS))
            or os.path.dirname(path) in sharded
        )

    return [path for path in paths if not is_state(path)]


def is_weights(path: str) -> bool:
    """Whether a file name at the root of a run is that of model weights, of whatever sharding."""
    return _matches(path.rsplit("/", 1)[-1], _WEIGHTS)


def is_empty(record: FileRecord) -> bool:
    """Whether a record stands for a file without a byte, which Xet does not store."""
    return record.size == 0 or record.xet_hash == _EMPTY_HASH


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
