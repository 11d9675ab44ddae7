"""The checkpoint that a training goes on from comes to every disk: one rank chooses, one on each disk pulls, all others wait."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object

from . import resume
from .bucket.address import is_bucket_address
from .bucket.checkpoint import listed
from .bucket.contents import best_checkpoint
from .bucket.errors import BrokenCheckpointError, BucketError
from .bucket.files import read_manifest
from .bucket.inventory import whole
from .bucket.manifest import MANIFEST_NAME
from .bucket.share import share_of
from .bucket.writer import CheckpointBucket
from .ranks import first_ranks, ranks_on_this_disk, together
from .saving.memory_folder import MemoryFolder


def bring(
    wanted: str | bool,
    run: CheckpointBucket | None,
    output_dir: str,
    token: str | None,
    with_best: bool,
    reads_own: bool = True,
    memory: MemoryFolder | None = None,
) -> resume.Source | None:
    """
    Choose a checkpoint on world rank zero and bring it to every disk. All ranks must call this.

    Args:
        wanted (`str` or `bool`):
            An address, `True` or `"auto"`.
        run ([`CheckpointBucket`], *optional*):
            The run that the training pushes to; on world rank zero.
        output_dir (`str`):
            Its folder on local disk.
        token (`str`, *optional*):
            Token for the Hub.
        with_best (`bool`):
            Whether the best checkpoint will be needed at the end of training.
        reads_own (`bool`, *optional*, defaults to `True`):
            Whether no rank reads what is another one's own. Then that need not come to its disk.
        memory ([`~saving.memory_folder.MemoryFolder`], *optional*):
            Where it goes instead of local disk, without the best one; on world rank zero.

    Returns:
        [`~resume.Source`], *optional*: What was chosen; `None` for a start from scratch.

    Raises:
        [`BucketError`]: If there is no such checkpoint, or it cannot be had whole.
        `ValueError`: If `wanted` is `True` and there is none.
    """

    def choose() -> resume.Source | None:
        if is_bucket_address(wanted):
            return resume.at_address(wanted, token)
        source = resume.newest(run, output_dir)
        if source is None and wanted is True:
            also = f" nor in the bucket ({run.address})" if run else ""
            raise ValueError(f"No valid checkpoint found in output directory ({output_dir}){also}")
        return source

    def choose_and_place() -> resume.Source | None:
        source = choose()
        if memory is None or source is None or source.local:
            return source
        return replace(source, into=str(memory.room_for("resumed", source.checkpoint.size, output_dir)))

    source = together(choose_and_place if PartialState().is_main_process else None)[0]
    if source is None:
        return None
    if source.local:
        _check_on_all_disks(source.local, output_dir)
        return source
    target = source.into or output_dir
    ranks, state = ranks_on_this_disk(target), PartialState()

    def pull() -> None:
        resume.pull(
            source, target, token, with_best and not source.into, ranks if reads_own else None, state.num_processes
        )

    try:
        together(pull if ranks[0] == state.process_index else None)
    except BaseException:
        if source.into:  # in memory, which nobody else would give back
            shutil.rmtree(source.into, ignore_errors=True)
        raise
    return source


def check_share(checkpoint: str | bool | None) -> None:
    """
    Make sure that a checkpoint on local disk has what this rank reads of it: else it fails alone, and the others hang.

    All ranks must call this. Where there are several disks, none of them may have all of a checkpoint.

    Args:
        checkpoint (`str` or `bool`, *optional*):
            The checkpoint; what is no folder on local disk does not matter here.

    Raises:
        [`BucketError`]: If something is missing; names it and the way out.
    """
    state = PartialState()

    def look() -> None:
        manifest = read_manifest(checkpoint) if isinstance(checkpoint, str) else None
        if manifest is None:
            return
        share = share_of(manifest, [state.process_index], state.num_processes)
        missing = sorted(path for path in share.files if not os.path.isfile(os.path.join(checkpoint, path)))
        if missing:
            raise BrokenCheckpointError(
                f"{checkpoint} is not whole: it lacks {listed(missing)}, which this rank reads. Resume from its "
                f"address in the bucket, which brings them. Without {MANIFEST_NAME} in it the folder is used as it is."
            )

    if state.num_processes > 1:
        together(look)


def _check_on_all_disks(folder: str, output_dir: str) -> None:
    """What one rank lacks it would notice alone, and the others would wait for it: so all look before the first step."""
    firsts = first_ranks(output_dir)
    if len(set(firsts)) == 1:
        return
    # Where there is a manifest, `check_share` tells what a rank lacks of it.
    problems = gather_object([[] if read_manifest(folder) else whole(folder)[1]])
    lacking = [f"rank {rank}: {listed(problems[rank])}" for rank in sorted(set(firsts)) if problems[rank]]
    if lacking:
        raise BucketError(
            f"{folder} cannot be resumed from: not every disk has all of it ({'; '.join(lacking)}). Resume from a checkpoint "
            "in the bucket, by its address, or copy what is missing."
        )


def best_folder(checkpoint: str | Path, run_dir: str) -> str | None:
    """
    Where the best checkpoint of a run is on this machine; `None` if it is not here.

    The trainer state names it by its path on the machine that saved it. What else may be found at that path is none of
    this run.

    Args:
        checkpoint (`str` or `Path`):
            The checkpoint that was pulled.
        run_dir (`str`):
            The folder of its siblings.
    """
    best = best_checkpoint(checkpoint)
    folder = best and os.path.join(run_dir, best)
    return folder if folder and os.path.isdir(folder) else None
