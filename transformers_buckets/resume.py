"""Where a training goes on: the checkpoint is chosen among local disk and bucket, and brought to local disk."""

import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from .bucket.address import BucketAddress, step_of
from .bucket.checkpoint import RemoteCheckpoint, listed
from .bucket.contents import TRAINER_STATE_NAME, best_checkpoint
from .bucket.errors import BrokenCheckpointError, CheckpointNotFoundError
from .bucket.files import WORK_FOLDER, compare
from .bucket.writer import CheckpointBucket
from .saving.marks import is_whole


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
    """

    local: str | None = None
    address: BucketAddress | None = None
    checkpoint: RemoteCheckpoint | None = None

    def path(self, output_dir: str) -> str:
        """Where it is on local disk, once it is there."""
        return self.local or os.path.join(output_dir, self.checkpoint.name)


def at_address(text: str, token: str | None = None, argument: str = "resume_from_checkpoint") -> Source:
    """
    The checkpoint an address names: the one it spells out, or the latest of the run.

    Args:
        text (`str`):
            `hf://buckets/namespace/name[/prefix][/checkpoint-<step>]` or the page in a browser.
        token (`str`, *optional*):
            Token for the Hub.
        argument (`str`, *optional*, defaults to `"resume_from_checkpoint"`):
            What the user calls the address; named in the error.

    Raises:
        [`BucketAddressError`], [`BucketAccessError`], [`CheckpointNotFoundError`]: If there is no such thing.
    """
    address = BucketAddress.parse(text, argument)
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


def newest(bucket: CheckpointBucket | None, output_dir: str) -> Source | None:
    """
    The newest checkpoint of local disk and bucket; `None` if there is none.

    The bucket tells where the run stands. Local disk is ahead of it only with a checkpoint that was saved after the last
    commit and is not one of the bucket's own. Clocks that differ can only mislead about such a checkpoint.

    Args:
        bucket ([`CheckpointBucket`], *optional*):
            The run.
        output_dir (`str`):
            Its folder on local disk.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    local = _last_whole(output_dir)
    here = Source(local=str(local)) if local else None
    if bucket is None:
        return here
    remote, passed_over = bucket.find_latest()
    _tell(bucket, remote, passed_over)
    if remote is None:
        return here
    there = Source(address=bucket.address, checkpoint=remote)
    if local is None:
        return there
    saved = (local / TRAINER_STATE_NAME).stat().st_mtime
    if saved > remote.committed_at.timestamp() and not _is_copy(bucket, local):
        logger.warning(
            f"{local} was saved after {there.address}/{remote.name} was committed: resuming from local disk."
        )
        return here
    if step_of(local.name) > remote.step:
        logger.warning(f"{local} has a higher step than {there.address}/{remote.name} but is older: passed over.")
    return there


def pull(source: Source, output_dir: str, token: str | None, with_best: bool) -> None:
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

    Raises:
        [`BrokenCheckpointError`], [`BucketAccessError`]: If it cannot be had whole.
    """
    bucket = CheckpointBucket(source.address, token=token)
    folder = bucket.pull(source.checkpoint, output_dir)
    best = best_checkpoint(folder)
    if with_best and best and best != source.checkpoint.name:
        try:
            _age(bucket.pull(best, output_dir, only_model=True), seconds=2)
        except (CheckpointNotFoundError, BrokenCheckpointError) as error:
            logger.warning(f"The best checkpoint cannot be had: {error} Training goes on without it.")
    # transformers rotates by the time of the folders: the one we go on from is the newest.
    _age(folder, seconds=0)
    # What an earlier attempt left of another checkpoint.
    shutil.rmtree(Path(output_dir, WORK_FOLDER, "downloads"), ignore_errors=True)


def _tell(bucket: CheckpointBucket, chosen: RemoteCheckpoint | None, passed_over: list[str]) -> None:
    if passed_over:
        choice = (
            f"The latest in {bucket.address} is {chosen.name}" if chosen else f"{bucket.address} has none committed"
        )
        logger.warning(f"{choice}. Passed over: {listed(passed_over, '; ')}.")


def _last_whole(output_dir: str) -> Path | None:
    """The checkpoint of the highest step on local disk, as transformers has it, without what a crash left half written."""
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if step_of(path.name) is not None]
    for folder in sorted(folders, key=lambda path: step_of(path.name), reverse=True):
        if is_whole(folder):
            return folder
        logger.warning(f"{folder} was not written to its end: passed over.")
    return None


def _is_copy(bucket: CheckpointBucket, local: Path) -> bool:
    """Whether a local checkpoint is the same as a committed one of its name: then its place in the run is that one's."""
    try:
        remote = bucket.find(local.name)
    except CheckpointNotFoundError:
        return False
    return remote.state == "committed" and not compare(local, remote.manifest)


def _age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))
