"""A committed checkpoint comes to local disk: into a folder nobody takes for a checkpoint, verified, then renamed."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from .address import BucketAddress
from .errors import BrokenCheckpointError, BucketError
from .fetch import fetch
from .files import compare, hash_files, read_manifest, scan, set_aside, work_folder, write_manifest
from .hub_client import reason
from .manifest import Manifest
from .patience import PatientApi


logger = logging.getLogger(__name__)


def download(
    api: PatientApi,
    address: BucketAddress,
    name: str,
    manifest: Manifest,
    output_dir: Path,
    committed_at: datetime | None = None,
    share: Manifest | None = None,
    part: Manifest | None = None,
) -> Path:
    """
    Make `output_dir/name` the checkpoint that a manifest describes, transferring only what is not there yet.

    One process at a time does this in a folder. What stands in the way and is not of this run is set aside.

    Args:
        api ([`PatientApi`]):
            The client.
        address ([`BucketAddress`]):
            The run.
        name (`str`):
            Name of the checkpoint.
        manifest ([`Manifest`]):
            All of its files.
        output_dir (`Path`):
            Folder to hold the checkpoint's folder.
        committed_at (`datetime`, *optional*):
            Time to give to the files, as the one they were saved at.
        share ([`Manifest`], *optional*):
            Those files that are read here. The folder gets the manifest of all, so that nobody takes it for whole.
        part ([`Manifest`], *optional*):
            Those of its files that are enough if nothing else of the checkpoint is there yet.

    Returns:
        `Path`: `output_dir/name`.

    Raises:
        [`BrokenCheckpointError`]: If what arrives is not what the manifest says, twice, or this system cannot hold it.
        [`BucketAccessError`]: If the bucket cannot be read.
        [`BucketError`]: If the disk has no room for it, or cannot be written.
    """
    target = output_dir / name
    share = share or manifest
    try:
        with _alone(output_dir) as work:
            if target.is_symlink() or (target.exists() and not target.is_dir()):
                raise BucketError(f"{target} is not a folder of its own, as a checkpoint must be: move it away.")
            arriving = work / "downloads" / name
            if target.exists():
                if part is not None and _holds_more(target, manifest, part):
                    part = None  # what is there besides the model must not get lost
                share = part or share
                differences = compare(target, part or manifest, share)
                if not differences:
                    is_all = len(share.files) == len(manifest.files)
                    same = "it is whole and" if is_all else "what is read here is there and"
                    logger.info(f"Using {target}: {same} the same as in {address}.")
                    return target
                logger.warning(f"Replacing {target} by the one in {address}: {', '.join(differences[:3])}.")
                _link_what_is_right(target, arriving, share)
            wrong = fetch(api, address.below(name), part or share, arriving)
            if wrong:
                raise BrokenCheckpointError(
                    f"{address}/{name} did not arrive as it was committed: {', '.join(wrong[:3])}. Nothing of it was used. "
                    "Try again; if it stays so, resume from another checkpoint."
                )
            if committed_at is not None:
                _date(scan(arriving).values(), committed_at.timestamp())
                if part is None:  # a part cannot be resumed from
                    write_manifest(arriving, manifest)
            if target.exists():
                _make_way(target, output_dir, manifest, arriving.with_suffix(".replaced"))
            arriving.rename(target)
    except OSError as error:
        raise BucketError(f"{target} cannot be written: {reason(error)}") from None
    return target


def forget_interrupted(output_dir: str | Path) -> None:
    """Delete what interrupted downloads left in a folder: the checkpoint that was wanted has arrived."""
    with _alone(Path(output_dir)) as work:
        shutil.rmtree(work / "downloads", ignore_errors=True)


@contextmanager
def _alone(output_dir: Path) -> Iterator[Path]:
    """The work folder in `output_dir`, while no other process pulls into it."""
    work = work_folder(output_dir)
    lock = FileLock(work / "downloads.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        logger.info(f"Waiting for another process that downloads to {output_dir}.")
        lock.acquire()
    try:
        yield work
    finally:
        with suppress(OSError):  # others may be on their way
            (work / "downloads").rmdir()
        lock.release()


def _holds_more(folder: Path, manifest: Manifest, part: Manifest) -> bool:
    """Whether a local copy is more than a part of a checkpoint, which has no manifest."""
    return read_manifest(folder) is not None or bool(scan(folder).keys() & (manifest.files.keys() - part.files.keys()))


def _make_way(target: Path, output_dir: Path, manifest: Manifest, replaced: Path) -> None:
    """Make way for a checkpoint that arrived. Only another copy of the same one is deleted, with nothing else in it."""
    there = read_manifest(target)
    same = (
        there is not None and there.run is not None and (there.run, there.push_id) == (manifest.run, manifest.push_id)
    )
    if same and not scan(target).keys() - manifest.files.keys():
        shutil.rmtree(replaced, ignore_errors=True)  # of a pull that was killed here
        target.rename(replaced)  # at once: half deleted, it could be taken for a checkpoint
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        aside = set_aside(target, output_dir)
        logger.warning(f"What was in {target} is in {aside} now. Delete it if nobody needs it.")


def _link_what_is_right(source: Path, target: Path, manifest: Manifest) -> None:
    """Take over those files of a local copy that are as they should be: they need not travel again."""
    wanted = {path: file for path, file in scan(source).items() if path in manifest.files}
    for path, record in hash_files(wanted).items():
        if record == manifest.files[path]:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # a file system without links
                os.link(source / path, target / path)


def _date(files: Iterable[Path], time: float) -> None:
    """Let files look as if they were saved at a time; except those whose other link may wait in the outbox."""
    for file in files:
        if file.stat().st_nlink == 1:
            os.utime(file, (time, time))
