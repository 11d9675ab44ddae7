"""Checkpoints as they are committed: for evaluation, export or notification in another process than the training."""

import logging
import math
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from .checkpoint import RemoteCheckpoint
from .errors import BucketError
from .reader import BucketReader


logger = logging.getLogger(__name__)


class Seen:
    """
    The commits that somebody has dealt with, remembered in a file from one process to the next.

    Args:
        file (`str` or `Path`, *optional*):
            A text file of one line for each commit, made if there is none. `None` remembers within this process only.
    """

    def __init__(self, file: str | Path | None = None):
        self.file = None if file is None else Path(file)
        self._lines: set[str] = set()
        if self.file is not None and self.file.exists():
            self._lines.update(self.file.read_text(encoding="utf-8").splitlines())

    def __contains__(self, checkpoint: RemoteCheckpoint) -> bool:
        return _commit(checkpoint) in self._lines

    def add(self, checkpoint: RemoteCheckpoint) -> None:
        """Remember a commit."""
        self._lines.add(_commit(checkpoint))
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b") as lines:
                size = lines.seek(0, os.SEEK_END)
                lines.seek(max(0, size - 1))
                torn = lines.read() not in (b"", b"\n")  # by a crash: what is added must not become part of that
                lines.write((b"\n" if torn else b"") + f"{_commit(checkpoint)}\n".encode())


def watch(
    run: BucketReader, seen: Seen, interval: float = 30.0, timeout: float | None = None
) -> Iterator[RemoteCheckpoint]:
    """
    The committed checkpoints of a run, those that are there and those to come, in the order of their commits.

    A Hub that does not answer is told and asked again. The first question has to be answered: a typo is an error.

    Args:
        run ([`BucketReader`]):
            The run.
        seen ([`Seen`]):
            What is left out. The caller adds to it what is not wanted again.
        interval (`float`, *optional*, defaults to 30.0):
            Seconds between two looks at the bucket.
        timeout (`float`, *optional*):
            Seconds without a new commit after which it ends. `None` goes on for ever.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be read at the first look.
    """
    offered: set[str] = set()  # what this iterator has handed out, whether or not it was dealt with
    manifests = _manifests(run)
    committed = run.committed()
    if not committed:
        logger.info(f"Nothing is committed in {run.address} yet{run.elsewhere()}.")  # a typo, perhaps
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        for checkpoint in committed:
            if checkpoint not in seen and _commit(checkpoint) not in offered:
                offered.add(_commit(checkpoint))
                yield checkpoint
                deadline = None if timeout is None else time.monotonic() + timeout
        left = math.inf if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(interval, left))
        try:
            manifests, before = _manifests(run), manifests
            if manifests != before:  # else there is nothing to read
                committed = run.committed()
        except BucketError as error:
            logger.warning(f"{error} Asking again in {interval:g} s.")


def _manifests(run: BucketReader) -> set[tuple[str, datetime]]:
    """Which manifests lie in a run, and since when."""
    return {(manifest.path, manifest.uploaded_at) for manifest in run.look()[0]}


def _commit(checkpoint: RemoteCheckpoint) -> str:
    """What tells a commit from others: a step can be committed again."""
    return f"{checkpoint.name} {checkpoint.committed_at.isoformat()}"
