"""`async_save`: transformers saves as it does, into a folder beside, and what is large is written when training has gone on."""

import copy
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

from accelerate import PartialState
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import SaveStrategy, rotate_checkpoints

from .bucket.contents import TRAINER_STATE_NAME
from .bucket.hub_client import reason
from .bucket.patience import TIMEOUT
from .ranks import together
from .saving.held_shards import HeldShards, holding, write_shards
from .saving.marks import begin_beside, drop_unfinished, folder_beside, put_in_place
from .saving.snapshot import Snapshot
from .saving.snapshot_writer import SnapshotWriter
from .saving.uploader import Uploader
from .saving.written import tell_failure


logger = logging.getLogger(__name__)

# Seconds in which a rank whose training broke off may write nothing before it is given up.
_LAST_WORDS = 30.0


class Staging:
    """
    The saves of one training that do not wait for the disk. Every rank has one; rank zero writes what is large, and where
    the state is sharded every rank its shards.

    Args:
        output_dir (`str`):
            Folder of the run on local disk.
        uploader ([`~saving.uploader.Uploader`], *optional*):
            Who hears of saves that fail; on world rank zero.
        is_sharded (`bool`, *optional*, defaults to `False`):
            Whether every rank saves shards of the state.
        timeout (`float`, *optional*, defaults to 600):
            Seconds in which nothing is written after which a rank is given up.
    """

    def __init__(self, output_dir: str, uploader: Uploader | None, is_sharded: bool = False, timeout: float = TIMEOUT):
        state = PartialState()
        self.rank, self.world_size = state.process_index, state.num_processes
        self.output_dir, self.timeout = output_dir, timeout
        self._uploader = uploader
        self.is_fixing = False
        self.run_dir: str | None = None  # where transformers saves to, from the beginning of a save to `on_save`
        self._is_sharded = is_sharded
        self._writer = SnapshotWriter() if is_sharded or self.rank == 0 else None
        self._shards: list[HeldShards] = []
        self._snapshot: Snapshot | None = None
        self._is_added_to = threading.Event()  # set: callbacks have added to the checkpoint what they wanted to
        self._newest: str | None = None
        self._told: set[str] = set()

    def __reduce__(self):
        return type(None), ()  # a trainer that was pickled or deep-copied has its own

    # ---- On the training thread ----

    def begin(self, folder: str, is_urgent: bool, best: str | None) -> None:
        """
        Begin a save. All ranks must call this, and wait for each other then.

        Args:
            folder (`str`):
                The checkpoint, below `output_dir`.
            is_urgent (`bool`):
                Whether time is short: then it is saved as usual.
            best (`str`, *optional*):
                Name of the best checkpoint, this one included.
        """
        if is_urgent:
            return

        def begin() -> None:
            self._snapshot = self._writer.begin()
            if self.rank == 0:
                begin_beside(self.output_dir, folder)

        together(begin if self._writer else None)
        self.run_dir = str(folder_beside(self.output_dir, folder).parent)
        self._newest = folder

    @contextmanager
    def fixing(self) -> Iterator[None]:
        """In this context transformers saves the checkpoint."""
        self.is_fixing = True
        try:
            with ExitStack() as stack:
                if self._snapshot:
                    stack.enter_context(self._snapshot.fixing(self.run_dir))
                if self._is_sharded:
                    self._shards = stack.enter_context(holding(self.run_dir, self._snapshot.buffers))
                yield
        except BaseException:
            self._snapshot = self.run_dir = None
            raise
        finally:
            self.is_fixing = False

    def correct_best(self, state: TrainerState, strategy: SaveStrategy, folder: str) -> None:
        """
        Say where the best checkpoint is going to be, as transformers would, which looked for it beside.

        Args:
            state ([`~transformers.TrainerState`]):
                The state of the trainer.
            strategy (`SaveStrategy`):
                When it saves.
            folder (`str`):
                The checkpoint.
        """
        if not state.best_global_step or strategy == SaveStrategy.NO:
            return
        looked_up, best = state.best_model_checkpoint, Path(folder).with_name(f"checkpoint-{state.best_global_step}")
        if state.best_global_step == state.global_step or self._is_kept(best):
            state.best_model_checkpoint = str(best)
        if self.rank == 0 and state.best_model_checkpoint != looked_up:
            state.save_to_json(os.path.join(self.run_dir, os.path.basename(folder), TRAINER_STATE_NAME))

    def _is_kept(self, checkpoint: Path) -> bool:
        """Whether an earlier checkpoint is still there, to be loaded at the end."""
        return checkpoint.is_dir()

    def write(self, folder: str, saved, hand_over: Callable[[], None]) -> None:
        """
        Let the writer begin. Returns at once.

        Args:
            folder (`str`):
                The checkpoint.
            saved ([`~transformers.Trainer`]):
                What [`as_it_is`] gave.
            hand_over (`Callable`):
                What shall happen on the writer to the complete checkpoint.
        """
        added_to = self._is_added_to = threading.Event()
        if self._writer is None:
            return

        snapshot, shards = self._take_fixed()
        beside = folder_beside(self.output_dir, folder).parent

        def then() -> None:
            if self._is_sharded:
                write_shards(shards, beside, self.rank, self.world_size, lambda: self.timeout)
            if self.rank:
                return
            added_to.wait()
            put_in_place(self.output_dir, folder)
            hand_over()
            best, limit = saved.state.best_model_checkpoint, saved.args.save_total_limit
            if limit and folder != self._newest:
                # The folder of the next save may be there already. It must not push out those that can be resumed from.
                limit = max(limit, 2 if best else 1) + 1
            rotate_checkpoints(
                output_dir=os.path.dirname(folder),
                save_total_limit=limit,
                best_model_checkpoint=best,
                use_mtime=True,
            )

        def failed(error: BaseException) -> None:
            if self.rank:
                return self._tell_failure(folder, error)
            shutil.rmtree(beside, ignore_errors=True)
            self._uploader.lose(folder, error, "It was not written to its end.")

        self._writer.write(snapshot, then, failed)

    def lose(self, folder: str, error: OSError) -> bool:
        """
        Tell that the files could not be written which transformers writes at once. Training goes on.

        Args:
            folder (`str`):
                The checkpoint.
            error (`OSError`):
                What the disk says.

        Returns:
            `bool`: Whether that can be: not where other ranks wait for this one.
        """
        if self.world_size > 1:
            return False
        shutil.rmtree(folder_beside(self.output_dir, folder).parent, ignore_errors=True)
        self._uploader.lose(folder, error, "It was not written to its end.")
        return True

    def _take_fixed(self) -> tuple[Snapshot, list[HeldShards]]:
        snapshot, self._snapshot = self._snapshot, None
        shards, self._shards = self._shards, []
        at_once = snapshot.written_at_once | {held.path.name for held in shards if held.is_written_at_once}
        for name in sorted(at_once - self._told):
            self._told.add(name)
            logger.warning(
                f"async_save: {name} holds what cannot be copied in memory; training waits while it is written."
            )
        return snapshot, shards

    def _tell_failure(self, folder: str, error: BaseException) -> None:
        try:
            tell_failure(folder_beside(self.output_dir, folder).parent, self.rank, error)
        except OSError:  # the disk is full, or rank zero has given up and deleted what was there
            logger.error(f"Rank {self.rank} could not write its part of {folder}: {reason(error)}")

    def go_on(self) -> None:
        """Say that nobody adds to the checkpoint that was saved last any more."""
        self.run_dir = None
        self._is_added_to.set()

    def is_under_way(self, folder: str) -> bool:
        """Whether a checkpoint is being written."""
        return folder_beside(self.output_dir, folder).exists()

    def wait(self) -> None:
        """Wait until everything is on disk, or was told that it is not."""
        self.go_on()
        if self._writer:
            self._writer.wait()

    def wait_after_error(self) -> None:
        """As [`~Staging.wait`], when training broke off: other ranks may be gone."""
        self.timeout = min(self.timeout, _LAST_WORDS)
        self.wait()

    def close(self) -> None:
        """Give the memory back, and the room of what could not be completed."""
        if self._writer:
            if self.rank == 0 and self._writer.is_idle:
                drop_unfinished(self.output_dir)
            self._writer.close()


def as_it_is(trainer):
    """
    A trainer that pushes what was saved just now, when the state and the arguments of `trainer` have gone on.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
    """
    saved = copy.copy(trainer)
    saved.args, saved.state = copy.copy(trainer.args), copy.copy(trainer.state)
    # Callbacks are for the training thread. There it was said already that a push begins.
    saved.callback_handler = SimpleNamespace(on_push_begin=lambda *_: None)
    return saved
