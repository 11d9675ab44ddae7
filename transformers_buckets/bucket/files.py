"""Files of a checkpoint on local disk: found, measured, hashed as the Hub hashes them, compared with a manifest."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .contents import TRAINING_ARGS_NAME
from .door import without_token
from .manifest import MANIFEST_NAME, FileRecord, Manifest


# The folder in `output_dir` for the outbox and for downloads. The Hub push of transformers ignores a leading `_`.
WORK_FOLDER = "_bucket"
# In a checkpoint while transformers still writes it on SIGTERM (see `trainer_jit_checkpoint.py` there), and while
# `async_save` still writes it, which says so in the file.
SENTINEL_NAME = "checkpoint-is-incomplete.txt"
_NOT_UPLOADED = {MANIFEST_NAME, SENTINEL_NAME}


def scan(folder: str | Path) -> dict[str, Path]:
    """Every file of a checkpoint by its path inside it, links and what must not be uploaded left out."""
    return {path: file for path, file in _walk(folder) if path not in _NOT_UPLOADED}


def stamp(file: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds: while they stay, nobody has written into the file."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, Path]]:
    # `os.walk` and `pathlib` do the same with many more calls, and a save waits for this.
    try:
        found = list(os.scandir(folder))
    except OSError:  # it is not there, or not any more
        return
    for entry in found:
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _walk(entry.path, f"{below}{entry.name}/")
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
    return manifest.differences(by_size) or manifest.differences(
        {**hash_files(files), **_as_they_left(files, manifest)}
    )


def _as_they_left(files: Mapping[str, Path], manifest: Manifest) -> dict[str, FileRecord]:
    """Training arguments leave this machine without their token; what comes back is compared with that."""
    with tempfile.TemporaryDirectory(prefix="arguments-") as folder:
        copies = {}
        for number, (path, file) in enumerate(files.items()):
            if file.name == TRAINING_ARGS_NAME:
                copies[path] = Path(folder, str(number))
                copies[path].write_bytes(without_token(file.read_bytes()))
        return {path: record for path, record in hash_files(copies).items() if record == manifest.files[path]}
