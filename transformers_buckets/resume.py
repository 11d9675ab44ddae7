"""Where a training goes on: the checkpoint is chosen among local disk and bucket, and brought to local disk."""

import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .bucket.address import BucketAddress, step_of
from .bucket.checkpoint import RemoteCheckpoint, listed
from .bucket.contents import best_checkpoint
from .bucket.download import forget_interrupted
from .bucket.errors import BrokenCheckpointError, CheckpointNotFoundError
from .bucket.files import local_checkpoints
from .bucket.inventory import whole
from .bucket.manifest import Manifest, Place
from .bucket.writer import CheckpointBucket


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """
    Where a training goes on.

    Args:
        local (`str`, *optional*):
            Path of a checkpoint on local disk, to be used as it is.
        address ([`BucketAddress`], *optional*):
            The run to pull from, if not local.
        checkpoint ([`RemoteCheckpoint`], *optional*):
            The checkpoint to pull.
        into (`str`, *optional*):
            Folder that it is pulled to, if that is not `output_dir`.
    """

    local: str | None = None
    address: BucketAddress | None = None
    checkpoint: RemoteCheckpoint | None = None
    into: str | None = None

    def path(self, output_dir: str) -> str:
        """Where it is on local disk, once it is there."""
        return self.local or os.path.join(self.into or output_dir, self.checkpoint.name)


def at_address(
    text: str | BucketAddress, token: str | None = None, argument: str = "resume_from_checkpoint"
) -> Source:
    """
    The checkpoint an address names: the one it spells out, or the latest of the run.

    Args:
        text (`str` or [`BucketAddress`]):
            `hf://buckets/namespace/name[/prefix][/checkpoint-<step>]` or the page in a browser.
        token (`str`, *optional*):
            Token for the Hub.
        argument (`str`, *optional*, defaults to `"resume_from_checkpoint"`):
            What the user calls the address; named in the error.

    Raises:
        [`BucketAddressError`], [`BucketAccessError`], [`CheckpointNotFoundError`]: If there is no such thing.
    """
    address = BucketAddress.parse(text, argument) if isinstance(text, str) else text
    bucket = CheckpointBucket(address.run, token=token)
    if address.checkpoint is None:
        checkpoint, passed_over = bucket.find_latest()
        if checkpoint is None:
            raise bucket.nothing_committed(passed_over)
        _tell(bucket, checkpoint, passed_over)
        return Source(address=bucket.address, checkpoint=checkpoint)
    checkpoint = bucket.find(address.checkpoint)
    if checkpoint.state == "unmarked":
        logger.warning(
            f"{address} has no manifest, so nobody can tell whether it is whole. It is used because it was named. "
            f"`transformers-buckets adopt {address}` gives it one."
        )
    return Source(address=bucket.address, checkpoint=checkpoint)


def newest(run: CheckpointBucket | None, output_dir: str) -> Source | None:
    """
    Where a run stands, on local disk or in its bucket; `None` if there is nothing of it.

    Both sides carry the place of each checkpoint in its manifest. Local disk is ahead of the bucket only with a checkpoint of
    the same run and of a higher place in it. Clocks and the times of files mean nothing.

    Args:
        run ([`CheckpointBucket`], *optional*):
            The run.
        output_dir (`str`):
            Its folder on local disk.

    Raises:
        [`CheckpointNotFoundError`]: If there is something that could be the run, and it cannot be used.
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    if run is None:
        local = _last_whole(output_dir)
        return Source(local=str(local)) if local else None
    remote, passed_over = run.find_latest()
    _tell(run, remote, passed_over)
    if remote is None:
        local = _last_whole(output_dir)
        if local is None and passed_over and not _is_unfinished_start(run):
            raise run.nothing_committed(passed_over)
        return Source(local=str(local)) if local else None
    there = Source(address=run.address, checkpoint=remote)
    for folder, manifest in _candidates(output_dir):
        same_run = manifest is not None and manifest.run is not None and manifest.run == remote.manifest.run
        is_ahead = same_run and manifest.comes_after(remote.manifest)
        if not is_ahead and (same_run or step_of(folder.name) <= remote.step):
            continue
        if problems := whole(folder)[1]:
            logger.warning(f"{folder} is passed over: {listed(problems)}.")
        elif is_ahead:
            logger.warning(f"{folder} was saved after {there.address}/{remote.name}: resuming from local disk.")
            return Source(local=str(folder))
        else:
            logger.warning(
                f"{folder} has a higher step than {there.address}/{remote.name}, but nothing says that it belongs to this "
                f"run: passed over. train(resume_from_checkpoint={str(folder)!r}) goes on from it."
            )
    return there


def _is_unfinished_start(run: CheckpointBucket) -> bool:
    """Whether all there is in the bucket is what the first pushes of this very run left when it was killed."""
    marks, unmarked, file = run.look()
    return not marks and file is not None and not set(unmarked) & set(file.found)


def pull(
    source: Source,
    output_dir: str,
    token: str | None,
    with_best: bool,
    ranks: Collection[int] | None = None,
    world_size: int | None = None,
) -> None:
    """
    Bring the chosen checkpoint to `output_dir`, and the model of the best checkpoint with it.

    Args:
        source ([`Source`]):
            The choice.
        output_dir (`str`):
            Folder of the run on local disk.
        token (`str`, *optional*):
            Token for the Hub.
        with_best (`bool`):
            Whether the best checkpoint will be needed at the end of training.
        ranks (`Collection[int]`, *optional*):
            Those that see this disk. `None` for all.
        world_size (`int`, *optional*):
            How many there are in all.

    Raises:
        [`BrokenCheckpointError`], [`BucketAccessError`]: If it cannot be had whole.
    """
    bucket = CheckpointBucket(source.address, token=token)
    folder = bucket.pull(source.checkpoint, output_dir, ranks=ranks, world_size=world_size)
    best = best_checkpoint(folder)
    if with_best and best and best != source.checkpoint.name:
        try:
            _age(bucket.pull(best, output_dir, only_model=True, ranks=ranks, world_size=world_size), seconds=2)
        except (CheckpointNotFoundError, BrokenCheckpointError) as error:
            logger.warning(f"The best checkpoint cannot be had: {error} Training goes on without it.")
    # transformers rotates by the time of the folders: the one we go on from is the newest.
    _age(folder, seconds=0)
    forget_interrupted(output_dir)


def _tell(bucket: CheckpointBucket, chosen: RemoteCheckpoint | None, passed_over: list[str]) -> None:
    if passed_over:
        choice = (
            f"The latest in {bucket.address} is {chosen.name}" if chosen else f"{bucket.address} has none committed"
        )
        logger.warning(f"{choice}. Passed over: {listed(passed_over, '; ')}.")


def _candidates(output_dir: str) -> list[tuple[Path, Manifest | None]]:
    """Checkpoints on local disk with their manifests, the newest first: by place within one run, otherwise by step."""
    found = local_checkpoints(output_dir)
    # What has no manifest and is not whole, such as the model of the best checkpoint, says nothing.
    runs = {manifest and manifest.run for folder, manifest in found if manifest or not whole(folder)[1]}
    one_run = len(runs) == 1

    def place(candidate: tuple[Path, Manifest | None]) -> tuple:
        folder, manifest = candidate
        return (manifest.place if one_run and manifest else Place(), step_of(folder.name))

    return sorted(found, key=place, reverse=True)


def _last_whole(output_dir: str) -> Path | None:
    """The newest checkpoint on local disk, without what a crash left half written."""
    for folder, _ in _candidates(output_dir):
        problems = whole(folder)[1]
        if not problems:
            return folder
        logger.warning(f"{folder} is passed over: {listed(problems)}.")
    return None


def _age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))
