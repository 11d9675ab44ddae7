"""`keep_local=False`: checkpoints go from memory to the bucket and come back through memory. No disk sees them."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from transformers.trainer_callback import TrainerState

from .bucket.contents import name_of_best
from .bucket.errors import BucketError, CheckpointNotFoundError
from .bucket.files import list_files, stamp
from .bucket.hub_client import reason
from .ranks import first_ranks, together
from .saving.entry import OutboxEntry
from .saving.in_memory import InMemory
from .saving.marks import make_way
from .saving.memory_folder import MemoryFolder, leads_to_memory, why_no_memory_folder
from .saving.slots import Slots
from .saving.snapshot import Buffers, Snapshot
from .staging import Staging
from .trainer_bucket import TrainerBucket


logger = logging.getLogger(__name__)
_trainings = count(1)  # so that all ranks call a folder the same


class NoDisk(Staging):
    """
    The saves of one training that touch no disk. Every rank has one; rank zero hands over.

    transformers saves into a folder in memory, and what is large is fixed as for `async_save`. There are two snapshots at
    most: a third save takes the place of the one that waits. If that is the best checkpoint, or all are wanted, it waits.

    Args:
        bucket ([`TrainerBucket`]):
            The run.
        memory ([`~saving.memory_folder.MemoryFolder`]):
            Where folders in memory are, the same for all ranks.
    """

    def __init__(self, bucket: TrainerBucket, memory: MemoryFolder):
        super().__init__(bucket.output_dir, bucket.uploader)
        self._memory = memory
        self._slots = Slots()
        self._training, self._saves = next(_trainings), 0
        self._buffers: Buffers | None = None
        self._is_urgent = False
        self._hand_over_later: Callable[[], None] | None = None
        self._limit = self._uploader and self._uploader.checkpoints.limit
        if self._limit:
            self._uploader.checkpoints.limit = 1

    def begin(self, folder: str, is_urgent: bool, best: str | None) -> None:
        self._saves += 1
        self._is_urgent = is_urgent
        self._name = os.path.relpath(folder, self.output_dir)
        self._place = self._memory.path / f"save-{self._training}-{self._saves}"

        def begin() -> None:
            best_name = best and os.path.join(os.path.dirname(self._name), best)
            self._buffers = self._slots.take(partial(self._make_room, best_name), is_urgent)
            self._snapshot = Snapshot(self._buffers)
            self._memory.place(self._place.name)
            self._checkpoint.mkdir(parents=True)

        together(begin if self._uploader else None)
        self.run_dir = str(self._checkpoint.parent)

    def lose(self, folder: str, error: OSError) -> bool:
        return False  # memory that is short is told before

    @property
    def _checkpoint(self) -> Path:
        """The folder in memory that stands for the checkpoint."""
        return self._place / self._name

    def _make_room(self, best: str | None) -> None:
        if self._limit:
            self._uploader.checkpoints.make_room(best)

    @contextmanager
    def fixing(self) -> Iterator[None]:
        try:
            with super().fixing():
                yield
        except BaseException as error:
            is_full = self._memory.is_full()
            if self._uploader:
                self._slots.give_back(self._buffers)
                shutil.rmtree(self._place, ignore_errors=True)
            if is_full:
                raise BucketError(
                    f"{self._memory.path.parent} is full: keep_local=False puts the small files of a checkpoint there, and what "
                    "cannot be copied in memory. Make it larger (docker run --shm-size), or leave keep_local out."
                ) from error
            raise

    def _is_kept(self, checkpoint: Path) -> bool:
        return True  # in the bucket

    def write(self, folder: str, saved, hand_over: Callable[[], None]) -> None:
        if self._uploader is None:
            return
        snapshot, _ = self._take_fixed()
        best = name_of_best(saved.state.best_model_checkpoint, saved.state.best_global_step)
        self._hand_over_later = partial(
            self._hand_over, folder, snapshot, self._buffers, saved.args.world_size, best, saved.args.save_only_model
        )
        self._show(folder)
        if self._is_urgent:
            self.go_on()

    def _show(self, folder: str) -> None:
        """Let a link lead to the checkpoint, for callbacks that add files."""
        try:
            make_way(self.output_dir, folder)
            if not self._is_urgent:
                os.makedirs(os.path.dirname(folder), exist_ok=True)
                os.symlink(self._checkpoint, folder)
        except (BucketError, OSError) as error:
            logger.warning(f"What callbacks add to {folder} will not be part of the checkpoint: {reason(error)}")

    def go_on(self) -> None:
        self.run_dir = None
        hand_over, self._hand_over_later = self._hand_over_later, None
        if hand_over:
            hand_over()

    def _hand_over(
        self, folder: str, snapshot: Snapshot, buffers: Buffers, world_size: int, best: str | None, only_model: bool
    ) -> None:
        if leads_to_memory(Path(folder)):
            os.unlink(folder)
        outbox, handover = self._uploader.outbox, self._uploader.handover
        here = self._checkpoint
        # What a callback has written itself stands, as in an ordinary save.
        payloads = {path: late for path, late in snapshot.payloads(here).items() if not (here / path).exists()}
        memory = InMemory(payloads, partial(self._slots.give_back, buffers))
        held = OutboxEntry(self._place, self._name, outbox.address, {}, memory=memory)
        try:
            held = replace(held, stamps={path: stamp(file) for path, file in list_files(held.folder).items()})
            entry = handover.seal(held.folder, held, world_size, best, only_model, memory.files)
        except (BucketError, OSError) as error:
            outbox.remove(held)
            self._uploader.lose(folder, error, "It was in memory only.")
        else:
            self._uploader.enqueue(entry, urgent=self._is_urgent)

    def is_under_way(self, folder: str) -> bool:
        return False  # every save has a folder of its own

    def wait(self) -> None:
        self.go_on()

    def close(self) -> None:
        self._slots.close()
        if self._uploader:
            self._uploader.checkpoints.limit = self._limit


def memory_for(bucket: TrainerBucket) -> MemoryFolder | str:
    """
    The folder in memory that all ranks see; or why there is none. All ranks must call this.

    Args:
        bucket ([`TrainerBucket`]):
            The run.
    """
    if bucket.spread:
        return "the nodes have disks of their own"
    memory = bucket.uploader and bucket.uploader.outbox.memory
    found = together((lambda: why_no_memory_folder() or memory.hold()) if memory else None)[0]
    if isinstance(found, str):
        return found
    if len(set(first_ranks(found))) > 1:
        return "the ranks are on several machines"
    return memory or MemoryFolder(found)


@contextmanager
def best_at_hand(bucket: TrainerBucket, state: TrainerState, is_wanted: bool) -> Iterator[None]:
    """
    In this context the state of a trainer names a folder with the model of the best checkpoint. All ranks must call this.

    If it cannot be had, the state names nothing, and the bucket knows why when the context is left.

    Args:
        bucket ([`TrainerBucket`]):
            The run.
        state ([`~transformers.TrainerState`]):
            The state of the trainer.
        is_wanted (`bool`):
            Whether the model will be loaded. Otherwise the state names nothing.
    """
    bucket.drop_arrived()
    named = state.best_model_checkpoint
    best = name_of_best(named, state.best_global_step)
    name = os.path.relpath(named, bucket.output_dir) if named else best
    bring = partial(_folder_of_best, bucket, name) if bucket.uploader and is_wanted and name else None
    state.best_model_checkpoint, bucket.arrived, why_not = together(bring)[0] or (None, None, None)
    try:
        yield
    finally:
        state.best_model_checkpoint = named
        bucket.drop_arrived()
    bucket.why_not_best = why_not


def _folder_of_best(bucket: TrainerBucket, name: str) -> tuple[str | None, str | None, str | None]:
    """
    Where the best checkpoint is: on local disk if it could not be pushed, else in memory, with what is to be given back.
    Or nowhere, and why.
    """
    uploader = bucket.uploader
    if any(job.name == name for job in uploader.checkpoints.left):
        logger.info(f"Waiting for the push of {name} to {bucket.address}, to load the best model.")
        for job in uploader.checkpoints.flush():
            if job.name == name and job.folder:
                return job.folder, None, None
    run, best = uploader.run_of(name)
    place = None
    try:
        found = run.find(best)
        place = uploader.outbox.memory.room_for("best", found.size, bucket.output_dir)
        return str(run.pull(found, place, only_model=True)), str(place), None
    except (BucketError, OSError) as error:
        if place:
            shutil.rmtree(place, ignore_errors=True)
        why_not = (
            f"The best model, that of {name}, cannot be had: {reason(error)} The one at hand is that of the last step."
        )
        if not isinstance(error, CheckpointNotFoundError):
            why_not += (
                " The best one stays in the bucket: train(resume_from_checkpoint='auto') loads it, or: "
                f"transformers-buckets pull {run.address}/{best}"
            )
        logger.error(why_not)
        return None, None, why_not
