"""The inventory: what a checkpoint must consist of, looked at when it was saved, found on disk, or adopted."""

import json
import os
import re
import struct
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from .address import step_of
from .contents import TRAINER_STATE_NAME, has_optimizer, has_weights
from .errors import BrokenCheckpointError
from .files import SENTINEL_NAME, list_files, measure, read_manifest
from .manifest import FileRecord, Manifest
from .names import check_paths


_RNG_STATE = re.compile(r"rng_state_(\d+)\.pth\Z", re.ASCII)
_SHARD = re.compile(rb"__\d+_\d+\.distcp")  # as the `.metadata` of torch.distributed.checkpoint names them
_ARCHIVES = {".bin", ".pt", ".pth"}  # what torch.save writes


def take_inventory(
    folder: str | Path,
    world_size: int | None,
    only_model: bool | None = False,
    elsewhere: Mapping[str, FileRecord] = MappingProxyType({}),
) -> dict[str, FileRecord]:
    """
    Fix what a checkpoint consists of that has just been saved: every file with its size.

    Of contents, only the state is read, and whether archives and tensor files have their end.

    Args:
        folder (`str` or `Path`):
            The checkpoint, `checkpoint-<step>`.
        world_size (`int`, *optional*):
            Number of processes that saved it. `None` if unknown.
        only_model (`bool`, *optional*, defaults to `False`):
            Whether it was saved without the state of the training. `None` if unknown.
        elsewhere (`Mapping[str, FileRecord]`, *optional*):
            What there is of it on other disks.

    Returns:
        `dict[str, FileRecord]`: The files by their path in the checkpoint, without hashes, those elsewhere included.

    Raises:
        [`BrokenCheckpointError`]: If something is not there without which it cannot be resumed from, or a file cannot be
            part of a checkpoint; names it.
    """
    files = all_files(folder)
    check_paths({**elsewhere, **files})  # names that are fine on each disk may not be so together
    if problems := _problems(folder, files, elsewhere, world_size, only_model):
        raise BrokenCheckpointError(f"{folder} cannot be resumed from: {', '.join(problems)}")
    return {**elsewhere, **measure(files)}


def whole(folder: str | Path) -> tuple[Manifest | None, list[str]]:
    """
    Whether a checkpoint that is found on local disk is whole.

    By its manifest, which is written last. One without, saved by plain transformers, gets a real look: its state must be of
    its step, and its archives and tensor files must be complete.

    Args:
        folder (`str` or `Path`):
            The checkpoint, `checkpoint-<step>`.

    Returns:
        `tuple`: Its manifest, if it has one, and what is wrong; nothing if it is whole.
    """
    folder = Path(folder)
    if (folder / SENTINEL_NAME).exists():
        return None, ["it was not written to its end"]
    manifest = read_manifest(folder)
    try:
        files = all_files(folder)
        if manifest is not None:
            return manifest, manifest.differences(measure(files))
        return None, _problems(folder, files)
    except (OSError, BrokenCheckpointError) as error:
        return manifest, [str(error)]


def _problems(
    folder: str | Path,
    files: Mapping[str, Path],
    elsewhere: Collection[str] = (),
    world_size: int | None = None,
    only_model: bool | None = None,
) -> list[str]:
    """Why these files of a checkpoint, with those on other disks, cannot be resumed from. What takes longer comes last."""
    return (
        missing({*elsewhere, *files}, world_size, only_model)
        or _missing_shards(files, elsewhere)
        or _wrong_state(folder)
        or [f"{path} is torn" for path, file in files.items() if not _is_complete(file)]
    )


def all_files(folder: str | Path) -> dict[str, Path]:
    """
    Every file of a checkpoint by its path inside it, checked by the rule that readers use.

    Raises:
        [`BrokenCheckpointError`]: If the folder is not there or cannot be listed, or holds what cannot be part of a checkpoint.
    """
    if not os.path.isdir(folder):
        raise BrokenCheckpointError(f"{folder} is gone, deleted or rotated away as soon as it was saved")
    try:
        files = list_files(folder)
    except OSError as error:
        raise BrokenCheckpointError(f"{folder} cannot be listed: {error}") from None
    check_paths(files)
    return files


def missing(paths: Collection[str], world_size: int | None = None, only_model: bool | None = None) -> list[str]:
    """
    What a checkpoint lacks, judged by the names of its files.

    Args:
        paths (`Collection[str]`):
            Its files.
        world_size (`int`, *optional*):
            Number of processes that saved it. `None` if unknown: then those whose files are there.
        only_model (`bool`, *optional*):
            Whether it was saved without the state of the training. `None` if unknown: then it was if nothing of it is there.
    """
    ranks = {int(match.group(1)) for path in paths if (match := _RNG_STATE.match(path))}
    if only_model is None:
        only_model = not (ranks or has_optimizer(paths) or "rng_state.pth" in paths)
    lacks = []
    if TRAINER_STATE_NAME not in paths:
        lacks.append(f"{TRAINER_STATE_NAME} is missing")
    if not has_weights(paths):
        lacks.append("it holds no weights")
    if only_model:
        return lacks
    if not has_optimizer(paths):
        lacks.append("the state of the optimizer (optimizer.pt) is missing")
    if (world_size or 1) == 1 and not ranks and "rng_state.pth" not in paths:
        lacks.append("rng_state.pth is missing")
    # A file of rank 0 alone was left by several processes, of which at least one did not come to its own.
    expected = range(world_size if world_size and world_size > 1 else max(2, max(ranks) + 1) if ranks else 0)
    lacks += [f"rng_state_{rank}.pth is missing" for rank in expected if rank not in ranks]
    return lacks


def _missing_shards(files: Mapping[str, Path], elsewhere: Collection[str]) -> list[str]:
    """Shards that were named when a sharded state was saved and are not there. Nothing is unpickled."""
    folders = {path: PurePosixPath(path).parent for path in files if PurePosixPath(path).name == ".metadata"}
    named = {
        str(folder / shard.decode())
        for path, folder in folders.items()
        for shard in _SHARD.findall(files[path].read_bytes())
    }
    return [f"{path} is missing" for path in sorted(named - files.keys() - set(elsewhere))]


def _wrong_state(folder: str | Path) -> list[str]:
    try:
        state = json.loads(Path(folder, TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        step = int(state["global_step"])
    except (OSError, ValueError, TypeError, KeyError):
        return [f"{TRAINER_STATE_NAME} is torn"]
    expected = step_of(Path(folder).name)
    return [] if expected in (None, step) else [f"{TRAINER_STATE_NAME} is that of step {step}"]


def _is_complete(file: Path) -> bool:
    """Whether a file has its end, for the formats where that can be told."""
    if file.suffix == ".safetensors":
        return _has_all_tensors(file)
    if file.suffix in _ARCHIVES:
        with file.open("rb") as content:
            is_archive = content.read(2) == b"PK"  # the older format of torch.save cannot be told from a torn one
        return not is_archive or zipfile.is_zipfile(file)
    return True


def _has_all_tensors(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header: Mapping = json.loads(content.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return file.stat().st_size == 8 + length + max(ends, default=0)
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError):
        return False
