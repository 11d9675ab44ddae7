"""The trainer: when a checkpoint is pushed, when training waits for it, and where training goes on."""

import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import transformers

from . import upstream
from .beginning import begin, open_for
from .bucket.address import BucketAddress
from .bucket.retention import Policy
from .commit_callback import CommitTeller
from .ending import finish, is_finished
from .no_disk import memory_for
from .preemption import agree_on_preemption
from .restore import best_folder
from .run_of_flags import bucket_address
from .saves import Saves, SavesCheckpoints
from .saving.memory_folder import MemoryFolder
from .skeleton import lacks_skeleton, save_skeleton
from .staging import Staging
from .trainer_bucket import TrainerBucket
from .training_args import trained_by_one_that_pushes, wants_bucket


logger = logging.getLogger(__name__)

# As they are now: `run` puts ours in their place.
_TransformersTrainer, _TransformersArguments = transformers.Trainer, transformers.TrainingArguments


class BucketTrainerMixin(SavesCheckpoints):
    """
    Makes any subclass of [`~transformers.Trainer`] push to a bucket and resume from one. Mix it in in front.

    With `push_to_bucket=False`, or with arguments that lack the flag, the trainer behaves as it does without this class.

    Attributes:
        preempted (`bool`):
            Whether a SIGTERM ended the last training early (`enable_jit_checkpoint`).
        _bucket_id (`str`, *optional*):
            `namespace/name[/prefix]` of the run; `None` if buckets are off.
        bucket_retention (`Sequence[Policy]`, *optional*, defaults to `()`):
            Which checkpoints stay in the bucket besides those that `bucket_total_limit` leaves, such as
            `[keep_last(2), keep_every(1000), keep_best(3, "loss")]`. Read when training begins; a `TypeError` then if it is
            no list of policies. The newest and the best always stay; without policies and limit all do.

    Raises:
        [`BucketAccessError`]: At construction, if the bucket cannot be created or written to.

    Example:

    ```python
    from trl import SFTTrainer
    from transformers_buckets import BucketTrainerMixin

    class BucketSFTTrainer(BucketTrainerMixin, SFTTrainer):
        pass
    ```
    """

    bucket_retention: Sequence[Policy] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        if _TransformersTrainer in bases[: bases.index(BucketTrainerMixin)]:
            others = ", ".join(base.__name__ for base in cls.__bases__ if base is not BucketTrainerMixin)
            raise TypeError(
                f"BucketTrainerMixin must come first: write class {cls.__name__}(BucketTrainerMixin, {others})."
            )

    def __init__(self, *args, **kwargs):
        self._bucket: TrainerBucket | None = None
        self._teller: CommitTeller | None = None
        self._opened_for: tuple[BucketAddress, str] | None = None
        self.preempted = self._is_training = False
        self._staging: Staging | None = None
        self._memory: MemoryFolder | str | None = None
        self._stops_where_finished = False
        self._saves, self._is_saving = Saves(), False
        given = next((arg for arg in (*args, *kwargs.values()) if isinstance(arg, _TransformersArguments)), None)
        with upstream.silenced(given):
            super().__init__(*args, **kwargs)
        if wants_bucket(given):
            self.args.push_to_bucket = True  # the base class may have made a copy meanwhile
        if self.is_world_process_zero():
            upstream.say_who_pushes(type(self).__name__, self.args)
        if wants_bucket(self.args):
            self._open_bucket()

    def init_bucket(self) -> None:
        """
        Create the bucket if there is none, and make sure that it can be written to.

        Raises:
            [`BucketAccessError`]: If that cannot be, with the reason and the way out.
        """
        self._bucket = open_for(self.args)

    def _open_bucket(self) -> None:
        """Open the bucket that the arguments name now, and listen to what is saved and committed."""
        self.args.output_dir = os.path.abspath(self.args.output_dir)  # whoever changes the working directory
        self.init_bucket()
        self._opened_for = self._run_of_arguments()
        self._teller = self._teller or CommitTeller(self.callback_handler)
        self._teller.bucket = self._bucket
        for callback in (self._saves, self._teller):
            if callback not in self.callback_handler.callbacks:
                self.add_callback(callback)
        agree_on_preemption(self)

    def _run_of_arguments(self) -> tuple[BucketAddress, str]:
        return bucket_address(self.args), os.path.abspath(self.args.output_dir)

    @property
    def _bucket_id(self) -> str | None:
        return self._bucket and self._bucket.bucket_id

    # ---- Training ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs):
        """
        As [`~transformers.Trainer.train`]; returns once the last checkpoint is committed to the bucket.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                As in transformers, and besides:

                - `"hf://buckets/namespace/name[/prefix][/checkpoint-<step>]"`, or the page of a bucket in a browser: pull
                  that checkpoint, or the one committed last, into `output_dir` and resume from it.
                - `True`: the newest of local disk and, with `push_to_bucket`, the bucket.
                - `"auto"`: the same, or from scratch if there is none. One command line serves every start of a run.

        Returns:
            [`~transformers.trainer_utils.TrainOutput`]

        Raises:
            [`BucketError`]: Before the first step, if the address holds no whole checkpoint or cannot be read.
            [`BucketPushError`]: After everything else is finished and the model is saved into `output_dir`, if a checkpoint
                could not be pushed, or a model that you asked to push. Its `output` is what would have been returned.
            [`BucketError`]: After everything else is finished, if the best model cannot be brought back that
                `load_best_model_at_end` and `keep_local=False` leave in the bucket only.
            [`RunTakenOverError`]: At a save, if another training has taken the run over.
        """
        if not wants_bucket(self.args):
            return super().train(begin(self, None, resume_from_checkpoint), *args, **kwargs)
        if self._bucket is None or self._opened_for != self._run_of_arguments():
            self._open_bucket()  # a copy of a trainer, or one whose arguments have changed
        self._bucket.retain(self.bucket_retention)
        self.preempted = False
        self._stops_where_finished = resume_from_checkpoint in (True, "auto")
        self._memory = None if getattr(self.args, "keep_local", True) else memory_for(self._bucket)
        memory = self._memory if isinstance(self._memory, MemoryFolder) else None
        resume_from_checkpoint = begin(self, self._bucket, resume_from_checkpoint, memory)
        self._is_training = True
        try:
            output = super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException as error:
            self._finish_after(error)
            raise
        finally:
            self._is_training = False
            self._close_staging()
        stopped, self.preempted = self.preempted, self.preempted and not is_finished(self)
        finish(self, self._bucket, output, stopped)
        self._teller.tell(self.args, self.state, self.control, is_over=True)
        return output

    def _inner_training_loop(self, *args, **kwargs):
        if wants_bucket(self.args) and self._staging is None:
            self._staging = self._stage()
        with trained_by_one_that_pushes(self.args):
            return super()._inner_training_loop(*args, **kwargs)

    def create_scheduler(self, *args, **kwargs):
        with trained_by_one_that_pushes(self.args):
            return super().create_scheduler(*args, **kwargs)

    def _finish_after(self, error: BaseException) -> None:
        if self._staging:
            self._staging.wait_after_error()
        self._bucket.finish_after(error)

    def _init_training_state(
        self, max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
    ):
        result = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is not None and self._bucket and resume_from_checkpoint == self._bucket.pulled:
            self.state.best_model_checkpoint = best_folder(resume_from_checkpoint, self._get_output_dir(trial))
        if self._stops_where_finished and self.state.global_step >= max_steps:
            # transformers would train one more step, and one more at each restart.
            if self.is_world_process_zero():
                logger.info(f"Training was finished at step {self.state.global_step}; nothing to do.")
            return num_train_epochs, 0
        return result

    def _finalize_training(self, *args, **kwargs):
        self._wait_for_files()  # the best model may have to be loaded from what is being written
        with self._best_at_hand():
            return super()._finalize_training(*args, **kwargs)

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        # At its end, `train` itself waits and tells what is missing: when the trained model is at hand.
        if self._bucket and not self._is_training:
            self._bucket.wait_alone()

    # ---- The model itself ----

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """
        As [`~transformers.Trainer.save_model`]; called by the user, the model goes to the bucket as well.

        In a callback it does not wait for that, and `train()` raises in the end if it did not arrive.
        """
        by_user = wants_bucket(self.args) and not _internal_call
        with upstream.silenced(self.args), self._bucket.saving_model(output_dir) if by_user else nullcontext():
            super().save_model(output_dir, _internal_call=_internal_call)
            if wants_bucket(self.args) and self.args.should_save and lacks_skeleton(self):
                save_skeleton(self, output_dir or self.args.output_dir)
        if by_user:
            self.push_to_bucket(blocking=not self._is_training)

    def push_to_bucket(self, blocking: bool = True, **kwargs) -> None:
        """
        Push the model, its tokenizer, model card and logs to the root of the run, beside the checkpoints.

        As with [`~transformers.Trainer.save_model`], rank zero is enough unless the model is sharded.

        Args:
            blocking (`bool`, *optional*, defaults to `True`):
                Whether to return only when everything has landed, checkpoints that wait included.
            kwargs (`dict[str, Any]`, *optional*):
                Passed along to [`~transformers.Trainer.create_model_card`].

        Raises:
            [`BucketAccessError`]: If the bucket cannot be opened.
            [`BucketPushError`]: If `blocking` and something could not be pushed.
        """
        if self._bucket is None:
            self.init_bucket()
        if self._staging:
            self._staging.wait()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        with self._bucket.saving_model():
            self.save_model(_internal_call=True)
        if self.is_world_process_zero():
            if hasattr(self.model, "config"):  # the model card of transformers is about its own models only
                self.create_model_card(model_name=kwargs.pop("model_name", Path(self._bucket_id).name), **kwargs)
            self._bucket.push_model()
            if blocking:
                self._bucket.wait_alone()

    def create_model_card(self, *args, **kwargs) -> None:
        """As in the class this is mixed into; with a bucket, the card names it."""
        super().create_model_card(*args, **kwargs)
        self._name_bucket_in_model_card()

    def _name_bucket_in_model_card(self) -> None:
        if self._bucket:
            self._bucket.name_in_model_card()


class Trainer(BucketTrainerMixin, transformers.Trainer):
    __doc__ = transformers.Trainer.__doc__


class Seq2SeqTrainer(Trainer, transformers.Seq2SeqTrainer):
    __doc__ = transformers.Seq2SeqTrainer.__doc__
