"""The uploads of one run: what a save hands over, on which lane it reaches the bucket, and what the user hears of it."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..bucket.errors import BrokenCheckpointError, BucketError, BucketPushError, RunTakenOverError, TokenFoundError
from ..bucket.hub_client import Transfer, reason
from ..bucket.manifest import Manifest, PushId
from ..bucket.metrics import evaluations_in
from ..bucket.patience import GivenUpError
from ..bucket.writer import CheckpointBucket
from . import messages
from .entry import ChangedOnDiskError, OutboxEntry
from .handover import HandOver
from .in_memory import LostError, rescue, rescue_all
from .lane import Job, Lane
from .outbox import Outbox
from .priority import give_way, stop_giving_way
from .retention import Retention
from .root import Root
from .waiting import Pending, Wait


if TYPE_CHECKING:  # it imports torch
    from .parts import PartCollector


logger = logging.getLogger(__name__)

# How many checkpoints may wait for their push, beside the one that is under way. Each holds its room on local disk.
WAITING = 3
_MODEL = "the model"
# No other try will find the copy as it was saved, or without the token.
_HOPELESS = (ChangedOnDiskError, TokenFoundError, RunTakenOverError, LostError)


class Uploader:
    """
    Brings what a training saves into its bucket, in the background.

    Checkpoints have a lane of their own. What follows a commit, the root of the run and retention, has another one: nothing
    that fails or takes long there holds up a checkpoint.

    Args:
        bucket ([`CheckpointBucket`]):
            The run.
        output_dir (`str` or `Path`):
            Folder of the run on local disk.
        keep_all (`bool`, *optional*, defaults to `False`):
            Push every checkpoint, however many wait.
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
        self.outbox = Outbox(self.output_dir, str(bucket.address))
        self.handover = HandOver(self.outbox, versions)
        self.root = Root(self.output_dir, self.outbox, include)
        self.retention = Retention(total_limit)
        limit = None if keep_all else WAITING
        self.checkpoints = Lane("push-to-bucket", self._report, self._report_skipped, limit, _HOPELESS)
        self.afterwards = Lane("after-commit", self._report_behind, limit=1, hopeless=(RunTakenOverError,))
        self.parts: PartCollector | None = None  # if there are other disks
        self.leftovers: list[PushId] = []  # of an earlier process, and on their way
        self._trials: dict[str, CheckpointBucket] = {"": bucket}
        self._transfer = Transfer()
        self.commits: deque[tuple[str, Manifest]] = deque()  # those that nobody has asked for yet
        self.taken_over: RunTakenOverError | None = None  # by another process
        self._is_ending = self._is_urgent = False

    # ---- On the training thread ----

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
            return seal()
        except (BucketError, OSError) as error:
            self.lose(folder, error, f"It is in {folder} unless it was rotated away.")
            return None

    def lose(self, folder: str | Path, error: BaseException, where: str) -> None:
        """Tell why a checkpoint cannot be pushed and where it is, in a sentence; again at the end, as [`~Uploader.seal`]."""
        name = self.outbox.name_of(folder)
        self._lose(self.checkpoints, name, name.rpartition("/")[0], error, where)

    def enqueue(self, entry: OutboxEntry, behind: Sequence[Future] = (), urgent: bool = False) -> None:
        """
        Let a copy of a checkpoint be pushed. Returns at once.

        Args:
            entry ([`OutboxEntry`]):
                The copy.
            behind (`Sequence[Future]`, *optional*):
                Pushes to the model repository that come first.
            urgent (`bool`, *optional*, defaults to `False`):
                Time is short: drop what waits.
        """
        trial = entry.name.rpartition("/")[0]
        job = self._job(entry.name, trial, lambda: self._commit(job, entry), entry, behind)
        if best := entry.manifest.best_checkpoint:
            job.best = "/".join(part for part in (trial, best) if part)
        if entry.memory:
            job.folder = "memory"
            job.rescue = partial(rescue, job, entry, self.outbox, partial(self._commit, job))
        self._is_urgent = self._is_urgent or urgent
        self.checkpoints.put(job, urgent)

    def push_model(self) -> None:
        """Queue the model that was saved into `output_dir`, and what else the training made there."""
        try:
            self.enqueue_model(self.handover.hold_root(self.root.model_files()))
        except OSError as error:
            self._lose(self.afterwards, _MODEL, "model", error, f"It is in {self.output_dir}.")

    def enqueue_model(self, entry: OutboxEntry) -> None:
        """Let the copy of a model be pushed. Returns at once."""
        push = partial(self.root.push_model, self.bucket, entry)
        self.afterwards.put(self._job(_MODEL, "model", push, entry))

    def push_logs(self) -> None:
        """Queue logs and results that changed."""
        self.afterwards.put(Job("the logs", partial(self.root.push_logs, self.bucket), group="logs"))

    def finish(self, show_progress: bool, interrupted: bool = False) -> None:
        """
        Wait until everything has landed.

        Args:
            show_progress (`bool`):
                Whether to draw a progress bar.
            interrupted (`bool`, *optional*, defaults to `False`):
                Whether the user has interrupted once and knows what is waited for: the next interrupt ends the wait.

        Raises:
            [`BucketPushError`]: If a checkpoint or the model could not be pushed; says where it is and how to push it by hand.
        """
        wait = Wait(self.bucket.address, self.pending, self.bucket.api.patience.timeout, show_progress)
        self._is_ending, gave_up = True, None
        try:
            left = wait.out((self.checkpoints, self.afterwards), interrupted, str(self.outbox.folder))
        except TimeoutError as error:
            if self.parts and self.parts.waiting_for:
                error = TimeoutError(f"{error}; {self.parts.waiting_for} has not sent its part")
            self.leave()
            left, gave_up = self.checkpoints.left + self.afterwards.left, error
        finally:
            self._is_ending = self._is_urgent = False
            wait.close()
            if not (self.checkpoints.is_working or self.afterwards.is_working):
                self.outbox.release()  # else it is released when this process ends
                stop_giving_way()
        for job in left:
            if job.error is None or isinstance(job.error, GivenUpError):
                job.error = gave_up or job.error
            if job.folder is None:
                logger.warning(messages.still_behind(self.bucket.address, job))
        if missing := [job for job in left if job.folder] + self.checkpoints.lost + self.afterwards.lost:
            kind = RunTakenOverError if self.taken_over else BucketPushError
            raise kind(messages.missing(self.bucket.address, missing))

    def leave(self) -> None:
        """Stop what runs, as far as that is possible. It stays in the outbox, or comes there from memory."""
        self.bucket.api.patience.end()
        if self.parts:
            self.parts.give_up()
        for lane in (self.checkpoints, self.afterwards):
            lane.stop(seconds=1)
        rescue_all(self.checkpoints, self.outbox, self._report)

    def pending(self) -> Pending:
        """What has still to be done, on both lanes."""
        jobs = self.checkpoints.left + self.afterwards.left
        read = self._transfer.read + (self.parts.read if self.parts else 0)
        left = max(0, sum(job.size for job in jobs) - read)
        return Pending([job.name for job in jobs], left, (read, self.checkpoints.done, self.afterwards.done))

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self.checkpoints.left or self.afterwards.left)

    # ---- On the lanes ----

    def _commit(self, job: Job, entry: OutboxEntry) -> None:
        give_way()
        started, self._transfer = time.monotonic(), Transfer()
        run, name = self.run_of(entry.name)
        try:
            with self.retention.pushing(run, name):
                manifest = self._push(run, name, entry)
                self.retention.committed(run, name, manifest)
        except BaseException as error:
            self.taken_over = error if isinstance(error, RunTakenOverError) else self.taken_over
            entry = job.rescue() if job.rescue else entry
            if isinstance(error, _HOPELESS):
                job.folder = str(self.outbox.set_aside(entry))
            raise
        if entry.memory:
            entry.memory.release()
        if self.parts:
            self.parts.drop(entry.manifest.push_id)
        self.handover.catch_up(run.root.shifted)
        logger.info(messages.committed(run.address, name, manifest, self._transfer.new, time.monotonic() - started))
        self.commits.append((f"{run.address}/{name}", manifest))
        job.forget = lambda: None  # the copy stays for what follows: a crash in between must not leave the root behind
        self.follow_up(entry, manifest)

    def _push(self, run: CheckpointBucket, name: str, entry: OutboxEntry) -> Manifest:
        self.outbox.check(entry)
        others = None
        if entry.memory:
            others = entry.memory.send(run, name, entry.folder, self._transfer)
        elif self.parts and not entry.manifest.files.keys() <= entry.stamps.keys():
            others = partial(self.parts.ask, entry, run.address, name)
        try:
            return run.push(entry.folder, name, entry.manifest, self._transfer, others)
        except BrokenCheckpointError:
            self.outbox.check(entry)  # is it the fault of this disk, or did something not arrive?
            raise

    def follow_up(self, entry: OutboxEntry, manifest: Manifest) -> None:
        """Do what comes after a commit, on a lane of its own: the root of the run, and how many checkpoints stay."""
        run, name = self.run_of(entry.name)
        metrics = evaluations_in(entry.folder) if self.retention.policies else {}
        folder = self.output_dir / entry.name.rpartition("/")[0]
        refresh = partial(self.root.refresh, run, folder, manifest)
        self.afterwards.put(Job("the root", refresh, f"root {run.address}", lambda: self.outbox.remove(entry)))
        retain = partial(self.retention.apply, run, metrics)
        self.afterwards.put(Job("the number of checkpoints", retain, f"retention {run.address}"))

    def _job(self, name: str, group: str, work, entry: OutboxEntry, behind: Sequence[Future] = ()) -> Job:
        self.bucket.api.patience.renew()  # somebody may have left, and come back
        return Job(name, work, group, lambda: self._forget(entry), behind, folder=str(entry.folder), size=entry.size)

    def _forget(self, entry: OutboxEntry) -> None:
        self.outbox.remove(entry)
        if self.parts and entry.manifest:
            self.parts.drop(entry.manifest.push_id)

    def run_of(self, name: str) -> tuple[CheckpointBucket, str]:
        """The run an entry belongs to and its name there: trials of a hyperparameter search are runs of their own."""
        trial, _, checkpoint = name.rpartition("/")
        if trial not in self._trials:
            self._trials[trial] = CheckpointBucket(self.bucket.address.below(trial))
            self._trials[trial].api = self.bucket.api
        return self._trials[trial], checkpoint

    # ---- What the user hears ----

    def _lose(self, lane: Lane, name: str, group: str, error: BaseException, where: str) -> None:
        job = Job(name, lambda: None, group, error=OSError(f"{reason(error)} {where}"))
        lane.lose(job)
        logger.error(messages.lost(self.bucket.address, job))

    def _report(self, job: Job) -> None:
        tell = messages.hopeless if isinstance(job.error, _HOPELESS) else messages.failed
        logger.error(tell(self.bucket.address, job, self._is_ending))

    def _report_skipped(self, job: Job) -> None:
        logger.warning(messages.skipped(job, self.checkpoints.limit, self._is_urgent))

    def _report_behind(self, job: Job) -> None:
        tell = messages.failed if job.folder else messages.behind
        if isinstance(job.error, RunTakenOverError):
            tell, self.taken_over = messages.hopeless, job.error
        logger.warning(tell(self.bucket.address, job, self._is_ending))
