"""What a trainer does at a save: when a checkpoint is handed over to the bucket, and what waits for what."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext

import transformers
from accelerate.utils import gather_object

from . import upstream
from .bucket.contents import name_of_best
from .bucket.errors import RunTakenOverError
from .bucket.patience import TIMEOUT
from .no_disk import NoDisk, best_at_hand
from .ranks import together
from .saving.marks import is_urgent
from .saving.memory_folder import MemoryFolder
from .staging import Staging, as_it_is
from .trainer_bucket import TrainerBucket
from .training_args import wants_bucket
from .ways_of_saving import why_not_staged


logger = logging.getLogger(__name__)


class Saves(transformers.TrainerCallback):
    """Notices saves, also those of a subclass that saves in its own way."""

    def __init__(self):
        self.saved: int | None = None  # step of a save whose `on_save` has begun
        self.handed_over: int | None = None  # step of the save that was handed over last

    def on_save(self, args, state, control, **kwargs):
        self.saved = state.global_step


class SavesCheckpoints:
    """The part of [`BucketTrainerMixin`] that saves."""

    _bucket: TrainerBucket | None
    _staging: Staging | None  # during a training with `async_save`
    _memory: MemoryFolder | str | None  # with `keep_local=False`, or why there is none
    _saves: Saves
    _is_saving: bool
    _is_urgent = False  # whether the save under way is one on SIGTERM

    def _save_checkpoint(self, model, trial) -> None:
        if not wants_bucket(self.args):
            return super()._save_checkpoint(model, trial)
        if self._staging:
            self._staging.go_on()
        folder = self._checkpoint_folder(trial)
        # Every rank leaves the mark of transformers before it gets here, and takes it away when it is through.
        self._is_urgent = is_urgent(folder)
        self.preempted = self.preempted or self._is_urgent
        if self._staging and (self._is_urgent or self._staging.is_under_way(folder)):
            self._staging.wait()
        if isinstance(self._staging, NoDisk):
            self._bucket.seal()  # nothing is written into that folder
        else:
            self._bucket.before_save(folder)
        self._is_saving, self._saves.handed_over = True, None
        try:
            if self._staging:
                self._staging.begin(folder, self._is_urgent, name_of_best(None, self.state.best_global_step))
            self.accelerator.wait_for_everyone()
            with self._staging.fixing() if self._is_staged else nullcontext():
                super()._save_checkpoint(model, trial)
            if self._saves.handed_over is None:
                # transformers calls it for `push_to_hub` only. A subclass with its own version prepares such a push there.
                SavesCheckpoints._push_from_checkpoint(self, folder)
        except OSError as error:
            if not self._staging or self._is_urgent or not self._staging.lose(folder, error):
                raise
            self._saves.handed_over = self.state.global_step
        finally:
            self._is_saving = False

    @property
    def _is_staged(self) -> bool:
        """Whether the files of the checkpoint at hand are beside, and some not written yet."""
        return self._staging is not None and self._staging.run_dir is not None

    def _get_output_dir(self, trial) -> str:
        is_beside = self._is_staged and self._saves.saved is None
        return self._staging.run_dir if is_beside else super()._get_output_dir(trial)

    def _checkpoint_folder(self, trial) -> str:
        return os.path.join(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not wants_bucket(self.args):
            return super()._push_from_checkpoint(checkpoint_folder)
        if self._is_staged and self._staging.is_fixing:
            return  # before its files are there
        self._saves.handed_over = self.state.global_step
        if self._is_staged:
            self._staging.correct_best(self.state, self.args.save_strategy, checkpoint_folder)
        self.accelerator.wait_for_everyone()  # every rank writes files of its own
        if self._is_staged:
            self.callback_handler.on_push_begin(self.args, self.state, self.control)
            saved = as_it_is(self)
            self._staging.write(checkpoint_folder, saved, lambda: self._hand_over_staged(saved, checkpoint_folder))
        elif self.is_world_process_zero() or self._bucket.spread:
            urgent = self._is_urgent if self._is_saving else is_urgent(checkpoint_folder)
            self._hand_over(checkpoint_folder, may_change=self._is_saving and not urgent, urgent=urgent)

    def _maybe_log_save_evaluate(self, tr_loss, grad_norm, model, trial, *args, **kwargs) -> None:
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)
        if not wants_bucket(self.args):
            return
        if self._saves.saved is not None and self._saves.handed_over != self._saves.saved:
            # A subclass has saved in its own way. Whether that can be resumed from is looked at as with any other.
            SavesCheckpoints._push_from_checkpoint(self, os.path.abspath(self._checkpoint_folder(trial)))
        taken_over = None
        if self._saves.saved is not None:
            taken_over = self._taken_over()  # all ranks: callbacks of any of them may have added files before
            self._saves.saved = None
        if self._staging:
            self._staging.go_on()
        self._bucket.seal()
        if taken_over:  # what is trained from here on would reach nobody
            raise RunTakenOverError(taken_over)

    def _taken_over(self) -> str | None:
        """Whether another process has taken the run over, and which. Waits for all ranks, which must call this."""
        uploader = self._bucket.uploader
        told = gather_object([uploader and uploader.taken_over and str(uploader.taken_over)])
        return next(filter(None, told), None)

    def _stage(self) -> Staging | None:
        """What `async_save` or `keep_local=False` needs during a training; `None` if that cannot be."""
        reason = "the nodes have disks of their own" if self._bucket.spread else why_not_staged(self)
        if self._memory is not None:
            why_on_disk = reason or ("the state is sharded" if self.is_fsdp_enabled else None)
            if why_on_disk is None and isinstance(self._memory, MemoryFolder):
                return NoDisk(self._bucket, self._memory)
            if self.is_world_process_zero():
                logger.warning(
                    "keep_local=False has no effect, checkpoints are saved to local disk: "
                    f"{why_on_disk or self._memory}."
                )
        if not getattr(self.args, "async_save", False):
            return None
        if reason is None:
            timeout = getattr(self.args, "bucket_timeout", TIMEOUT)
            return Staging(self.args.output_dir, self._bucket.uploader, self.is_fsdp_enabled, timeout)
        if self.is_world_process_zero():
            logger.warning(f"async_save=True has no effect, checkpoints are saved as usual: {reason}.")

    def _close_staging(self) -> None:
        if self._staging:
            self._staging.close()
            self._staging = None

    def _hand_over_staged(self, saved: "SavesCheckpoints", folder: str) -> None:
        """As [`_hand_over`], on the writer of `async_save`. Training has gone on: what was true at the save, `saved` knows."""
        if self.args.push_to_hub:
            saved.push_in_progress = self.push_in_progress
        saved._hand_over(folder)
        if self.args.push_to_hub:
            self.push_in_progress = saved.push_in_progress

    def _hand_over(self, folder: str, may_change: bool = False, urgent: bool = False) -> None:
        best = name_of_best(self.state.best_model_checkpoint, self.state.best_global_step)
        push = self._push_to_model_repo if self.args.push_to_hub and self.is_world_process_zero() else None
        self._bucket.push(folder, self.args.world_size, best, self.args.save_only_model, push, may_change, urgent)
        if push is None and self.is_world_process_zero():  # whoever pushes to the model repository says so itself
            self.callback_handler.on_push_begin(self.args, self.state, self.control)

    def _wait_for_files(self) -> None:
        """Wait until what `async_save` has under way is on disk. All ranks must call this."""
        if self._staging:
            together(self._staging.wait)

    def _best_at_hand(self) -> AbstractContextManager:
        """Brings the best model if it is not on local disk, because of `keep_local=False`. All ranks must call this."""
        is_away = isinstance(self._staging, NoDisk) or self.state.best_model_checkpoint is None
        if isinstance(self._memory, MemoryFolder) and is_away:
            return best_at_hand(self._bucket, self.state, self.args.load_best_model_at_end)
        return nullcontext()

    def _push_to_model_repo(self, checkpoint_folder: str) -> list:
        """Let transformers push to the model repository, if it wants to; the pushes that are under way then."""
        before = list(self.push_in_progress.jobs) if self.push_in_progress else []
        with upstream.silenced(self.args):
            super()._push_from_checkpoint(checkpoint_folder)
        after = self.push_in_progress.jobs if self.push_in_progress else []
        jobs = [job for job in after if job not in before]
        if not jobs:  # it has not said so itself
            self.callback_handler.on_push_begin(self.args, self.state, self.control)
        return jobs
