"""The uploads of one run: what a save hands over, in what order it reaches the bucket, and what the user hears of it."""

import logging
import shlex
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from tqdm.auto import tqdm

from ..bucket.address import step_of
from ..bucket.contents import TRAINING_ARGS_NAME, is_weights
from ..bucket.errors import BucketError, BucketPushError
from ..bucket.files import local_checkpoints, scan, scan_outside_checkpoints, stamp
from ..bucket.hub_client import Transfer, reason
from ..bucket.manifest import Manifest, Place
from ..bucket.metrics import evaluations_in
from ..bucket.retention import Candidate, Policy, keep_total, unwanted
from ..bucket.units import size_text
from ..bucket.writer import CheckpointBucket
from .handover import HandOver
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
    """

    def __init__(
        self,
        bucket: CheckpointBucket,
        output_dir: str | Path,
        keep_all: bool = False,
        total_limit: int | None = None,
        versions: Mapping[str, str] | None = None,
    ):
        self.bucket = bucket
        self.output_dir = Path(output_dir)
        self.total_limit = total_limit
        self.policies: Sequence[Policy] = ()  # what stays in the bucket besides
        self.outbox = Outbox(self.output_dir, str(bucket.address))
        self.handover = HandOver(self.outbox, self.output_dir, versions)
        self.queue = PushQueue(self._deliver, self.outbox.remove, self._report, keep_all=keep_all)
        self._trials: dict[str, CheckpointBucket] = {"": bucket}
        self._committed: dict[str, list[str]] = {}
        self._root_stamps: dict[str, tuple[int, int]] = {}
        self._transfer = Transfer()
        self._lost: list[str] = []
        self.commits: deque[tuple[str, Manifest]] = deque()  # those that nobody has asked for yet

    # ---- On the training thread ----

    def take_over(
        self, project: Mapping[str, str] | None = None, only_own_project: bool = False
    ) -> tuple[str | None, bool]:
        """
        Take the run over when a training begins, and look at what is there: in the bucket, and in the outbox after a crash.

        Args:
            project (`Mapping[str, str]`, *optional*):
                What tells this training apart from that of another project.
            only_own_project (`bool`, *optional*, defaults to `False`):
                Whether to leave a run alone that another project began.

        Returns:
            `tuple`: Name of the latest committed checkpoint, if any, and whether leftovers are on their way.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read or written.
        """
        latest, _ = self.bucket.find_latest()
        last = latest.manifest if latest else None
        here = [manifest for _, manifest in local_checkpoints(self.output_dir) if manifest and manifest.run]
        # Where the bucket is new and the disk is not, the run goes on: somebody has deleted the bucket or named another one.
        run_id = max(here, key=lambda manifest: manifest.place).run if here else None
        file = self.bucket.root.claim(self.outbox.writer, run_id, project, only_own_project)
        known = [manifest.place for manifest in here if manifest.run == file.run] + ([last.place] if last else [])
        number = max(place.number for place in (file.place, *known))
        self.handover.go_on(file.run, Place(file.writer.claim, number), last and last.push_id)
        delivering = False
        for entry in self.outbox.leftovers():
            if entry.manifest is not None and self._is_wanted(entry, file.run, last):
                delivering = True
            else:
                logger.info(f"Dropping {entry.folder}: the run in {self.bucket.address} has gone on since.")
                self.outbox.remove(entry)
        return latest.name if latest else None, delivering

    def _is_wanted(self, leftover: OutboxEntry, run_id: str, latest: Manifest | None) -> bool:
        run, name = self._run(leftover.name)
        if run is not self.bucket:
            there = run.find_latest()[0]
            latest = there and there.manifest
        committed = latest is not None and latest.push_id == leftover.manifest.push_id
        if not committed and not worth_pushing(leftover.manifest, run_id, latest):
            return False
        logger.info(f"Pushing {name}, which an earlier process left in {leftover.folder}.")
        # If it was committed, what comes after that is left to do: the root of the run, retention.
        self.queue.put(Push(leftover, manifest=latest if committed else None))
        self.handover.previous = leftover.manifest.push_id
        return True

    def seal(self, folder: str | Path, seal: Callable[[], OutboxEntry]) -> OutboxEntry | None:
        """
        Hand over a checkpoint. What goes wrong is told, and told again at the end unless a later one is safe by then.

        Args:
            folder (`str` or `Path`):
                The checkpoint.
            seal (`Callable[[], OutboxEntry]`):
                One of the steps of [`HandOver`].

        Returns:
            [`OutboxEntry`], *optional*: Its copy; `None` if there is none.
        """
        try:
            entry = seal()
        except (BucketError, OSError) as error:
            name = Path(folder).relative_to(self.output_dir).as_posix()
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
            run.root.push(files, self._transfer)
            self._root_stamps.update(entry.stamps)
            return
        if push.manifest is None:
            entry.check_unchanged()
            push.manifest = run.push(entry.folder, name, entry.manifest, transfer=self._transfer)
            self.handover.catch_up(run.root.file.place)
            files = push.manifest.files
            logger.info(
                f"Committed {run.address}/{name}: {len(files)} files, {size_text(push.manifest.size)} "
                f"({size_text(self._transfer.new)} new) in {time.monotonic() - started:.1f} s."
            )
            self.commits.append((f"{run.address}/{name}", push.manifest))
            if str(run.address) in self._committed:
                self._committed[str(run.address)].append(name)
        changed = self._changed_outside(self.output_dir / entry.name.rpartition("/")[0], weights=False)
        with self.outbox.hold(changed) as beside:
            stamps = {path: stamp(file) for path, file in beside.items()}
            run.root.refresh(push.manifest, beside, self._transfer)
        self._root_stamps.update(stamps)
        self._retain(run, entry.folder, push.manifest.best_checkpoint)

    def _retain(self, run: CheckpointBucket, folder: Path, best: str | None) -> None:
        policies = [*self.policies, *([] if self.total_limit is None else [keep_total(self.total_limit, {best})])]
        if not policies:
            return
        key = str(run.address)
        if key not in self._committed:
            self._committed[key] = [checkpoint.name for checkpoint in run.committed()]
        # A step that was pushed twice counts once, where it was pushed last.
        committed = list(reversed(dict.fromkeys(reversed(self._committed[key]))))
        metrics = evaluations_in(folder) if self.policies else {}
        candidates = [Candidate(name, metrics.get(step_of(name), {})) for name in committed]
        try:
            names = unwanted(candidates, policies, {best})
        except Exception as error:  # a policy is the user's own code
            logger.error(f"Nothing is deleted from {run.address}: {type(error).__name__}: {reason(error)}")
            return
        run.delete(names)
        self._committed[key] = [name for name in committed if name not in names]

    def _run(self, name: str) -> tuple[CheckpointBucket, str]:
        """The run an entry belongs to and its name there: trials of a hyperparameter search are runs of their own."""
        trial, _, checkpoint = name.rpartition("/")
        if trial not in self._trials:
            self._trials[trial] = CheckpointBucket(self.bucket.address.below(trial), token=self.bucket.api.token)
        return self._trials[trial], checkpoint

    def _changed_outside(self, folder: Path, weights: bool) -> dict[str, Path]:
        files = scan_outside_checkpoints(folder)
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
