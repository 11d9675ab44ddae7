"""Files of a checkpoint on local disk: found, measured, hashed as the Hub hashes them, compared with a manifest."""

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from .address import step_of
from .contents import TRAINING_ARGS_NAME
from .door import without_token
from .errors import BrokenCheckpointError, BucketError
from .manifest import MANIFEST_NAME, FileRecord, Manifest, PushId


# The folder in `output_dir` for the outbox and for downloads. The Hub push of transformers ignores a leading `_`.
WORK_FOLDER = "_bucket"
# In a checkpoint while transformers still writes it on SIGTERM (see `trainer_jit_checkpoint.py` there).
SENTINEL_NAME = "checkpoint-is-incomplete.txt"
_OURS = {MANIFEST_NAME, SENTINEL_NAME}


def work_folder(output_dir: str | Path) -> Path:
    """
    The folder in `output_dir` for what is on its way. Made if it is not there, for this user alone.

    Raises:
        [`BucketError`]: If it is a link, which could lead anywhere.
        `OSError`: If it cannot be made.
    """
    folder = Path(output_dir, WORK_FOLDER)
    for inside in (folder, folder / "outbox", folder / "downloads", folder / "set_aside", folder / "saving"):
        if inside.is_symlink():
            raise BucketError(f"{inside} is a link: what is written there could end up anywhere. Take it away.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def set_aside(target: Path, output_dir: str | Path) -> Path:
    """
    Move what is at a place to where nobody takes it for a checkpoint. Of a link, what it leads to stays as it is.

    Args:
        target (`Path`):
            The place, below `output_dir`.
        output_dir (`str` or `Path`):
            Folder of the run.

    Returns:
        `Path`: Where it is now.

    Raises:
        [`BucketError`], `OSError`: If that cannot be.
    """
    aside = work_folder(output_dir) / "set_aside" / f"{target.name}-{uuid.uuid4().hex[:8]}"
    aside.parent.mkdir(exist_ok=True)
    if target.is_symlink():
        aside.symlink_to(target.parent / os.readlink(target))  # a relative one would lead elsewhere
        target.unlink()
    else:
        target.rename(aside)  # at once: half moved, it could be taken for a checkpoint
    return aside


def list_files(folder: str | Path) -> dict[str, Path]:
    """
    Every file of a checkpoint by its path inside it, except the manifest and the mark of an incomplete one.

    Links to files are followed. Nothing is left out in silence.

    Args:
        folder (`str` or `Path`):
            The checkpoint.

    Raises:
        [`BrokenCheckpointError`]: If there is something that is no regular file, such as a dangling link or a socket.
        `OSError`: If a folder cannot be listed.
    """
    return {path: file for path, file in _walk_all(folder) if path not in _OURS}


def _walk_all(folder: str | Path, below: str = "") -> Iterator[tuple[str, Path]]:
    # `os.walk` and `pathlib` do the same with many more calls, and a save waits for this.
    with os.scandir(folder) as found:
        for entry in found:
            path = below + entry.name
            if entry.is_file():
                yield path, Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk_all(entry.path, f"{path}/")
            elif not os.path.lexists(entry.path):  # a temporary file of another program
                continue
            else:
                kind = "a link to a folder, or to nothing" if entry.is_symlink() else "neither a file nor a folder"
                raise BrokenCheckpointError(f"{entry.path} is {kind}: put the file itself there, or take it away")


def scan(folder: str | Path) -> dict[str, Path]:
    """What there is of a checkpoint that may be torn or on its way: regular files alone, by their path inside it."""
    return {path: file for path, file in _walk(folder) if path not in _OURS}


def stamp(file: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds: while they stay, nobody has written into the file."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, Path]]:
    try:
        found = list(os.scandir(folder))
    except OSError:  # it is not there, or not any more
        return
    for entry in found:
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _walk(entry.path, f"{below}{entry.name}/")
        elif entry.is_file():
            yield below + entry.name, Path(entry.path)


def hash_files(files: Mapping[str, Path]) -> dict[str, FileRecord]:
    """Size and Xet hash of local files, computed as the Hub computes them."""
    from hf_xet import hash_files as xet_hash_files

    if not files:
        return {}
    infos = xet_hash_files([str(file) for file in files.values()])
    return {path: FileRecord(info.file_size, info.hash) for path, info in zip(files, infos, strict=True)}


def compare(folder: Path, manifest: Manifest, share: Manifest) -> list[str]:
    """
    Why a folder on disk is not the checkpoint its manifest describes; empty if it is, byte for byte.

    A file that the manifest does not know is a difference as well, for transformers may load it.

    Args:
        folder (`Path`):
            The folder.
        manifest ([`Manifest`]):
            The whole checkpoint.
        share ([`Manifest`]):
            Those files that must be there.
    """
    extra = [f"{path} does not belong to it" for path in sorted(scan(folder).keys() - manifest.files.keys())]
    if (folder / SENTINEL_NAME).exists():
        extra.append(f"{SENTINEL_NAME} says that it was not written to its end")
    return extra or wrong_files(folder, share)


def wrong_files(
    folder: Path, manifest: Manifest, hashed: Mapping[str, FileRecord] = MappingProxyType({})
) -> list[str]:
    """
    Which files of a manifest are not in a folder as they should be. Others in there do not count.

    Sizes come first: contents are read only if all of them are right. What is `hashed` already is read again only if it
    seems wrong.
    """
    files = {path: file for path, file in scan(folder).items() if path in manifest.files}
    if wrong := manifest.differences(measure(files)):
        return wrong
    right = {path: record for path, record in hashed.items() if record == manifest.files[path]}
    rest = {path: file for path, file in files.items() if path not in right}
    return manifest.differences({**right, **hash_files(rest), **_as_they_left(rest, manifest)})


def _as_they_left(files: Mapping[str, Path], manifest: Manifest) -> dict[str, FileRecord]:
    """Training arguments leave this machine without their token; what comes back is compared with that."""
    with tempfile.TemporaryDirectory(prefix="arguments-") as folder:
        copies = {}
        for number, (path, file) in enumerate(files.items()):
            if file.name == TRAINING_ARGS_NAME:
                copies[path] = Path(folder, str(number))
                copies[path].write_bytes(without_token(file.read_bytes()))
        return {path: record for path, record in hash_files(copies).items() if record == manifest.files[path]}


def measure(files: Mapping[str, Path]) -> dict[str, FileRecord]:
    """The sizes of local files."""
    return {path: FileRecord(file.stat().st_size) for path, file in files.items()}


def read_manifest(folder: str | Path) -> Manifest | None:
    """The manifest of a checkpoint on local disk; `None` if it has none that can be read."""
    try:
        return Manifest.from_json(Path(folder, MANIFEST_NAME).read_bytes())
    except (OSError, BrokenCheckpointError):
        return None


def local_checkpoints(output_dir: str | Path) -> list[tuple[Path, Manifest | None]]:
    """The checkpoints in a folder, each with its manifest if it has one."""
    folders = [folder for folder in Path(output_dir).glob("checkpoint-*") if step_of(folder.name) is not None]
    return [(folder, read_manifest(folder)) for folder in folders]


def intact_parts(output_dir: str | Path) -> Iterator[tuple[PushId, tuple[str, Manifest, dict[str, Path]]]]:
    """By push: the checkpoints in a folder, each with those files of its manifest that are there in the right size."""
    for folder, manifest in local_checkpoints(output_dir):
        if manifest is not None and manifest.push_id is not None:
            there = {path: file for path, file in scan(folder).items() if path in manifest.files}
            right = {path for path, record in measure(there).items() if record.size == manifest.files[path].size}
            yield manifest.push_id, (folder.name, manifest, {path: there[path] for path in right})


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """
    Make a folder on local disk a whole checkpoint: to be called when everything else is there.

    A torn manifest is none, so nothing is lost if this is interrupted.
    """
    Path(folder, MANIFEST_NAME).write_bytes(manifest.to_json())
