"""The uploads of one run: what a save hands over, in what order it reaches the bucket, and what the user hears of it."""

import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from tqdm.auto import tqdm

from ..bucket.contents import TRAINING_ARGS_NAME, is_weights
from ..bucket.errors import BucketPushError
from ..bucket.files import WORK_FOLDER, scan, stamp
from ..bucket.hub_client import Transfer, reason
from ..bucket.retention import surplus
from ..bucket.writer import CheckpointBucket
from .beside import Beside
from .outbox import Outbox, OutboxEntry, worth_pushing
from .priority import give_way
from .queue import Push, PushQueue


logger = logging.getLogger(__name__)


class Uploader:
    """
    Brings what a training saves into its bucket, in the background.

    Args:
        bucket ([`CheckpointBucket`]):
            The run.
        output_dir (`str` or `Path`):
            Folder of the run on local disk.
        keep_all (`bool`, *optional*, defaults to `False`):
            Push every checkpoint, rather than the newest of those that wait.
        total_limit (`int`, *optional*):
            How many committed checkpoints stay in the bucket. `None` keeps all.
        versions (`Mapping[str, str]`, *optional*):
            Versions of libraries for the manifests.
        include (`Sequence[str]`, *optional*):
            Patterns of files in `output_dir` that go to the root of the run besides those that a training makes.
    """

    def __init__(
        self,
        bucket: CheckpointBucket,
        output_dir: str | Path,
        keep_all: bool = False,
        total_limit: int | None = None,
        versions: Mapping[str, str] | None = None,
        include: Sequence[str] = (),
    ):
        self.bucket = bucket
        self.output_dir = Path(output_dir)
        self.total_limit = total_limit
        self.versions = versions
        self.beside = Beside(include)
        self.outbox = Outbox(self.output_dir / WORK_FOLDER / "outbox", str(bucket.address))
        self.queue = PushQueue(self._deliver, self.outbox.remove, self._report, keep_all=keep_all)
        self._trials: dict[str, CheckpointBucket] = {"": bucket}
        self._committed: dict[str, list[str]] = {}
        self._root_stamps: dict[str, tuple[int, int]] = {}
        self._transfer = Transfer()
        self._lost: list[str] = []

    # ---- On the training thread ----

    def take_over(self) -> tuple[str | None, bool]:
        """
        Look at what is there when a training begins: in the bucket, and in the outbox after a crash.

        Returns:
            `tuple`: Name of the newest committed checkpoint, if any, and whether leftovers are on their way.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        newest, _ = self.bucket.find_latest()
        self.outbox.after = [newest.manifest.push_id if newest else None]
        self.outbox.since = newest.committed_at.timestamp() if newest else 0.0
        delivering = False
        for entry in self.outbox.leftovers():
            run, name = self._run(entry.name)
            last = newest if run is self.bucket else run.find_latest()[0]
            # Pushing a step again takes away its old manifest: then an even earlier commit is the last one.
            earlier = last is not None and last.committed_at.timestamp() < entry.since
            committed = last is not None and last.manifest.push_id == entry.push_id
            if last is None or earlier or committed or worth_pushing(entry, last.manifest.push_id):
                logger.info(f"Pushing {name or 'the root'}, which an earlier process left in {entry.folder}.")
                # If it was committed, what comes after that is left to do: the root of the run, retention.
                self.queue.put(Push(entry, manifest=last.manifest if committed else None))
                self.outbox.after.append(entry.push_id)
                delivering = True
            else:
                logger.info(f"Dropping {entry.folder}: the run in {run.address} has gone on since.")
                self.outbox.remove(entry)
        return newest.name if newest else None, delivering

    def take(self, folder: str | Path, world_size: int, best_checkpoint: str | None) -> OutboxEntry | None:
        """
        Copy a finished checkpoint into the outbox.

        Args:
            folder (`str` or `Path`):
                The checkpoint, below `output_dir`.
            world_size (`int`):
                Number of processes that train.
            best_checkpoint (`str`, *optional*):
                Name of the best checkpoint so far.

        Returns:
            [`OutboxEntry`], *optional*: The copy; `None` if the disk refused it, which is logged and told at the end.
        """
        name = Path(folder).absolute().relative_to(self.output_dir.absolute()).as_posix()
        try:
            files = scan(folder)
            if not files:
                raise FileNotFoundError(f"{folder} is gone, deleted or rotated away as soon as it was saved")
            entry = self.outbox.add(files, name, world_size, best_checkpoint)
        except OSError as error:
            self._lost.append(f"{name} ({reason(error)} It is in {folder} unless it was rotated away)")
            logger.error(f"{name} cannot be pushed to {self.bucket.address}: {reason(error)} Training goes on.")
            return None
        self._lost.clear()  # a newer one is safe
        return entry

    def enqueue(self, entry: OutboxEntry, behind: Sequence[Future] = (), urgent: bool = False) -> None:
        """
        Let the worker push a copy. Returns at once.

        Args:
            entry ([`OutboxEntry`]):
                The copy.
            behind (`Sequence[Future]`, *optional*):
                Pushes to the model repository that come first.
            urgent (`bool`, *optional*, defaults to `False`):
                Time is short: drop what waits.
        """
        self.queue.put(Push(entry, behind), urgent=urgent)

    def save_root(self, weights: bool) -> None:
        """
        Queue what changed in `output_dir` outside checkpoints.

        Args:
            weights (`bool`):
                Whether the weights at the root of `output_dir` are those of the final model. Otherwise the root of the
                run has those of the newest checkpoint, and keeps them.
        """
        files = self._changed_outside(self.output_dir, weights)
        try:
            if files:
                self.enqueue(self.outbox.add(files, ""))
        except OSError as error:
            self._lost.append(f"the root ({reason(error)} It is in {self.output_dir})")
            logger.error(f"The root cannot be pushed to {self.bucket.address}: {reason(error)}")

    def finish(self, show_progress: bool) -> None:
        """
        Wait until everything has landed.

        Args:
            show_progress (`bool`):
                Whether to draw a progress bar.

        Raises:
            [`BucketPushError`]: If something could not be pushed; says where it is and how to push it by hand.
        """
        bar = None
        if show_progress and not self.queue.is_idle:
            bar = tqdm(desc=f"Pushing to {self.bucket.address}", unit="B", unit_scale=True, leave=False)

        def tick():
            if bar is not None:
                bar.n = self._transfer.read
                bar.set_postfix_str(f"{size_text(self._transfer.new)} new")

        try:
            left = self.queue.flush(tick)
        finally:
            self.outbox.release()
            if bar is not None:
                bar.close()
        problems = self._lost + [self._by_hand(push) for push in left]
        if problems:
            raise BucketPushError(
                f"Training is done, but not everything reached {self.bucket.address}: " + "; ".join(problems)
            )

    # ---- On the worker ----

    def _deliver(self, push: Push) -> None:
        give_way()
        entry, started, self._transfer = push.entry, time.monotonic(), Transfer()
        run, name = self._run(entry.name)
        if push.is_root:
            files = scan(entry.folder)
            run.push_root(files, self._transfer)
            self._root_stamps.update(entry.stamps)
            return
        if push.manifest is None:
            entry.check_unchanged()
            push.manifest = run.push(
                entry.folder,
                name,
                world_size=entry.world_size,
                best_checkpoint=entry.best_checkpoint,
                push_id=entry.push_id,
                versions=self.versions,
                transfer=self._transfer,
            )
            files = push.manifest.files
            logger.info(
                f"Committed {run.address}/{name}: {len(files)} files, {size_text(push.manifest.size)} "
                f"({size_text(self._transfer.new)} new) in {time.monotonic() - started:.1f} s."
            )
            if str(run.address) in self._committed:
                self._committed[str(run.address)].append(name)
        changed = self._changed_outside(self.output_dir / entry.name.rpartition("/")[0], weights=False)
        with self.outbox.hold(changed) as beside:
            stamps = {path: stamp(file) for path, file in beside.items()}
            run.refresh_root(push.manifest, beside, self._transfer)
        self._root_stamps.update(stamps)
        self._retain(run, keep=entry.best_checkpoint)

    def _retain(self, run: CheckpointBucket, keep: str | None) -> None:
        if self.total_limit is None:
            return
        key = str(run.address)
        if key not in self._committed:
            self._committed[key] = [checkpoint.name for checkpoint in run.committed()]
        # A step that was pushed twice counts once, where it was pushed last.
        committed = list(reversed(dict.fromkeys(reversed(self._committed[key]))))
        surplus_names = surplus(committed, self.total_limit, {keep})
        run.delete(surplus_names)
        self._committed[key] = [name for name in committed if name not in surplus_names]

    def _run(self, name: str) -> tuple[CheckpointBucket, str]:
        """The run an entry belongs to and its name there: trials of a hyperparameter search are runs of their own."""
        trial, _, checkpoint = name.rpartition("/")
        if trial not in self._trials:
            self._trials[trial] = CheckpointBucket(self.bucket.address.below(trial), token=self.bucket.api.token)
        return self._trials[trial], checkpoint

    def _changed_outside(self, folder: Path, weights: bool) -> dict[str, Path]:
        files = self.beside.files(folder)
        return {
            path: file
            for path, file in files.items()
            if (is_weights(path) and weights)
            or (not is_weights(path) and (weights or path != TRAINING_ARGS_NAME) and self._is_changed(path, file))
        }

    def _is_changed(self, path: str, file: Path) -> bool:
        try:
            return self._root_stamps.get(path) != stamp(file)
        except FileNotFoundError:  # files of other programs, such as the database of a tracker, come and go
            return False

    def _report(self, push: Push) -> None:
        logger.error(
            f"Pushing {push.entry.name or 'the root'} to {self.bucket.address} failed: "
            f"{type(push.error).__name__}: {reason(push.error)} Training goes on. It stays in {push.entry.folder} and is "
            "tried again at the next save and at the end of training."
        )

    def _by_hand(self, push: Push) -> str:
        run, name = self._run(push.entry.name)
        command = "transformers-buckets push" if name else "hf buckets sync"
        return (
            f"{push.entry.name or 'the root'} ({type(push.error).__name__}: {reason(push.error)} It is in "
            f"{push.entry.folder}; run the same training again on this disk to push it, or: "
            f"{command} {shlex.quote(str(push.entry.folder))} {run.address})"
        )


def size_text(size: int) -> str:
    """A number of bytes as a reader likes it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
