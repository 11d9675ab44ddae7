"""The checkpoint that a training goes on from comes to every disk: one rank chooses, one on each disk pulls, all others wait."""

import os
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object

from . import resume
from .bucket.address import is_bucket_address
from .bucket.checkpoint import listed
from .bucket.contents import best_checkpoint
from .bucket.errors import BucketError
from .bucket.inventory import whole
from .bucket.writer import CheckpointBucket
from .ranks import first_on_this_disk, first_ranks, together


def bring(
    wanted: str | bool, run: CheckpointBucket | None, output_dir: str, token: str | None, with_best: bool
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

    source = together(choose if PartialState().is_main_process else None)[0]
    if source is None:
        return None
    if source.local:
        _check_on_all_disks(source.local, output_dir)
        return source
    if first_on_this_disk(output_dir):
        together(lambda: resume.pull(source, output_dir, token, with_best))
    else:
        together(None)
    return source


def _check_on_all_disks(folder: str, output_dir: str) -> None:
    """What one rank lacks it would notice alone, and the others would wait for it: so all look before the first step."""
    firsts = first_ranks(output_dir)
    if len(set(firsts)) == 1:
        return
    problems = gather_object([whole(folder)[1]])
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
