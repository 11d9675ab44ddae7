"""What a run in a bucket holds: its checkpoints are listed, chosen, pulled and verified here."""

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from .address import BEST, CHECKPOINT_NAME, step_of
from .checkpoint import RemoteCheckpoint, listed
from .contents import may_hold_weights, model_files
from .download import download
from .errors import BrokenCheckpointError, BucketAddressError, CheckpointNotFoundError
from .fetch import fetch
from .listing import RunListing
from .manifest import MANIFEST_NAME
from .patience import TIMEOUT
from .run_file import RunFile
from .share import share_of


class BucketReader(RunListing):
    """The reading half of [`CheckpointBucket`]."""

    def __init__(self, address, token: str | None = None, timeout: float = TIMEOUT):
        super().__init__(address, token, timeout)
        if self.address.checkpoint:
            raise BucketAddressError(
                f"address={str(self.address)!r} names a checkpoint, not a run: write {str(self.address.run)!r}, and name the "
                f"checkpoint where it is asked for ({self.address.checkpoint!r})."
            )

    def checkpoints(self) -> list[RemoteCheckpoint]:
        """
        All checkpoints of the run: the committed and broken ones in the order of their commits, then the unmarked ones.

        Every file is compared with its manifest by size and hash as the Hub tells them; nothing is downloaded but the
        manifests. [`~CheckpointBucket.verify`] reads contents.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """

        def everything():
            marks, unmarked, _ = self.contents()
            return self._judged(self._ordered(marks)) + [self._unmarked(name, self._files(name)) for name in unmarked]

        return self._read(everything)

    def committed(self) -> list[RemoteCheckpoint]:
        """
        The committed checkpoints of the run in the order of their commits.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        found = self._read(lambda: self._judged(self._ordered(self.contents()[0])))
        return [checkpoint for checkpoint in found if checkpoint.state == "committed"]

    def latest(self) -> RemoteCheckpoint:
        """
        The committed checkpoint with the highest place: that is where the run stands, whatever its step.

        Checkpoints of format 1 have no place: among these it is the one committed last, by the clock of the Hub.

        Raises:
            [`CheckpointNotFoundError`]: If no checkpoint is committed; says which ones were passed over and why.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        chosen, passed_over = self.find_latest()
        if chosen is None:
            raise self.nothing_committed(passed_over)
        return chosen

    def find_latest(self) -> tuple[RemoteCheckpoint | None, list[str]]:
        """
        As [`~CheckpointBucket.latest`], for those who have something to say about what it passes over.

        Returns:
            `tuple`: The checkpoint, or `None` if none is committed, and a line for each one that was passed over: broken
            ones that are newer, unmarked ones, and committed ones of a higher step, which an earlier branch of the run left.
        """

        def find():
            marks, unmarked, run_file = self.contents()
            passed_over = [f"{name} is unmarked (it has no manifest)" for name in unmarked]
            recent = self._ordered(self._since(marks, run_file))
            chosen = self._newest(recent, passed_over)
            if len(recent) < len(marks) and not self._holds(run_file, recent, chosen):
                del passed_over[len(unmarked) :]
                chosen = self._newest(self._ordered(marks), passed_over)
            if chosen is not None:
                highest = max((self._name(mark) for mark in marks), key=step_of)
                if step_of(highest) > chosen.step and not any(line.startswith(f"{highest} ") for line in passed_over):
                    passed_over.append(f"{highest} has a higher step but was committed earlier")
            return chosen, passed_over

        return self._read(find)

    def best(self) -> RemoteCheckpoint:
        """
        The best checkpoint of the run so far, as the latest one knows it.

        Raises:
            [`CheckpointNotFoundError`]: If no checkpoint is committed, none is known as the best, or it is gone.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        latest = self.latest()
        name = latest.manifest.best_checkpoint
        if name is None:
            raise CheckpointNotFoundError(
                f"{self.address} knows no best checkpoint: {latest.name} names none. A training tells which one is the best "
                "if it evaluates and `metric_for_best_model` or `load_best_model_at_end` is set."
            )
        return self.find(name)

    def look(self) -> tuple[list, list[str], RunFile | None]:
        """
        What lies in the run, before anything is read but its own file.

        Returns:
            `tuple`: The manifests, the names of checkpoints that have none, and the file of the run, if it has one.

        Raises:
            [`BrokenCheckpointError`]: If the file of the run cannot be read.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        marks, unmarked, run_file = self._read(self.contents)
        if isinstance(run_file, BrokenCheckpointError):
            raise run_file
        return marks, unmarked, run_file

    def run_file(self) -> RunFile | None:
        """Which run this is, and who writes to it; `None` if nobody has written to it yet. Raises as [`~BucketReader.look`]."""
        return self.look()[2]

    def find(self, name: str) -> RemoteCheckpoint:
        """
        One checkpoint by its name, whatever its state.

        Args:
            name (`str`):
                `checkpoint-<step>`, or `best`.

        Raises:
            [`CheckpointNotFoundError`]: If there is none of this name; says which there are.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if name == BEST:
            return self.best()
        check_name(name)

        def find():
            marks = list(self.api.get_bucket_paths_info(self.address.bucket_id, [self._path(name, MANIFEST_NAME)]))
            if marks:
                return self._judged(self._ordered(marks))[0]
            if files := self._files(name):
                return self._unmarked(name, files)
            marks, unmarked, _ = self.contents()
            names = sorted([self._name(mark) for mark in marks] + unmarked, key=step_of)
            there = f"there are {listed(names)}" if names else f"there are no checkpoints at all{self._elsewhere()}"
            raise CheckpointNotFoundError(f"{self.address} has no {name}: {there}.")

        return self._read(find)

    def nothing_committed(self, passed_over: Sequence[str]) -> CheckpointNotFoundError:
        """
        The error that a run holds nothing to resume from; says what it holds instead.

        Args:
            passed_over (`Sequence[str]`):
                What [`~CheckpointBucket.find_latest`] told.
        """
        why = listed(passed_over, "; ") or f"it is empty there{self.elsewhere()}"
        unmarked = [line.split()[0] for line in passed_over if " is unmarked " in line]
        way_out = (
            f" `transformers-buckets adopt {self.address}/{unmarked[-1]}` gives one a manifest." if unmarked else ""
        )
        return CheckpointNotFoundError(f"{self.address} holds no committed checkpoint: {why}.{way_out}")

    def pull(
        self,
        checkpoint: "str | RemoteCheckpoint",
        output_dir: str | Path,
        only_model: bool = False,
        ranks: Collection[int] | None = None,
        world_size: int | None = None,
    ) -> Path:
        """
        Bring a checkpoint to local disk, verified.

        A local copy is reused if every byte of it is right; of a wrong one, what is right in it. A download that was
        interrupted goes on where it stopped.

        Args:
            checkpoint (`str` or [`RemoteCheckpoint`]):
                Name or result of a listing.
            output_dir (`str` or `Path`):
                Folder to hold the checkpoint's folder.
            only_model (`bool`, *optional*, defaults to `False`):
                Leave all but the model in the bucket, unless the state is sharded: then weights may be in it.
            ranks (`Collection[int]`, *optional*):
                Leave in the bucket what only other ranks read: random states, and partitions of DeepSpeed. The folder
                is not whole then, and never taken for it. `None` for all ranks.
            world_size (`int`, *optional*):
                How many processes go on with it. With another number than before all is brought.

        Returns:
            `Path`: `output_dir/checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint, or it is deleted meanwhile.
            [`BrokenCheckpointError`]: If it is broken, or what arrives is not what was committed.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if isinstance(checkpoint, str):
            checkpoint = self.find(checkpoint)
        if checkpoint.state == "broken":
            raise BrokenCheckpointError(f"{self.address}/{checkpoint.name} is broken: {listed(checkpoint.problems)}.")
        manifest = checkpoint.manifest
        share = share_of(manifest, ranks, world_size)
        model_alone = None
        if only_model and not may_hold_weights(manifest.files):
            model_alone = replace(manifest, files={path: manifest.files[path] for path in model_files(manifest.files)})
        return self._read(
            lambda: download(
                self.api,
                self.address,
                checkpoint.name,
                manifest,
                Path(output_dir),
                checkpoint.committed_at,
                share,
                model_alone,
            )
        )

    def verify(self, checkpoint: "str | RemoteCheckpoint", progress: Callable[[int], None] | None = None) -> list[str]:
        """
        Download a checkpoint and compare every byte with its manifest. Needs room for its largest file only.

        Args:
            checkpoint (`str` or [`RemoteCheckpoint`]):
                Name or result of a listing.
            progress (`Callable[[int], None]`, *optional*):
                Called with the number of bytes that were read since the last call.

        Returns:
            `list[str]`: What is wrong with it; empty if it is whole.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if isinstance(checkpoint, str):
            checkpoint = self.find(checkpoint)
        if checkpoint.state != "committed":
            return list(checkpoint.problems) or ["it has no manifest"]
        wrong = []
        for path, record in checkpoint.manifest.files.items():
            alone = replace(checkpoint.manifest, files={path: record})
            with tempfile.TemporaryDirectory(prefix="verify-") as folder:
                wrong += self._read(
                    lambda: fetch(self.api, self.address.below(checkpoint.name), alone, Path(folder), quiet=True)  # noqa: B023
                )
            if progress:
                progress(record.size)
        return wrong


def check_name(name: str) -> None:
    """Refuse what is not the name of one checkpoint. Raises [`CheckpointNotFoundError`]."""
    if not isinstance(name, str) or CHECKPOINT_NAME.match(name) is None:
        raise CheckpointNotFoundError(f"{name!r} is not the name of a checkpoint: those are checkpoint-<step>.")
