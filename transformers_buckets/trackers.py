"""Trackers that are on are told where the last committed checkpoint is: W&B, trackio, TensorBoard."""

import copy
import logging
import sys
from collections.abc import Sequence

import transformers
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback


logger = logging.getLogger(__name__)

_TRACKERS = (TensorBoardCallback, TrackioCallback, WandbCallback)  # others take numbers only
_CLOSE_WHEN_TRAINING_IS_OVER = (TensorBoardCallback, TrackioCallback)
LOGGED_AS = "last_committed_checkpoint"


class Trackers:
    """
    The trackers of a trainer.

    Args:
        callbacks (`Sequence[~transformers.TrainerCallback]`):
            All callbacks of the trainer, those to come included.
    """

    def __init__(self, callbacks: Sequence[transformers.TrainerCallback]):
        self._callbacks = callbacks
        self._trackio_run: str | None = None

    def remember(self) -> None:
        """To be called while they are at work: trackio gives a run a name, and forgets it when training is over."""
        if any(isinstance(callback, TrackioCallback) for callback in self._callbacks) and "trackio" in sys.modules:
            run = sys.modules["trackio"].context_vars.current_run.get()
            self._trackio_run = run and run.name

    def tell(self, address: str, args, state, control, is_over: bool) -> bool:
        """
        Log an address. What a tracker makes of it does not end a training.

        Args:
            address (`str`):
                `hf://buckets/...` of the checkpoint.
            args ([`~transformers.TrainingArguments`]):
                The arguments of the training.
            state ([`~transformers.TrainerState`]):
                Where it is.
            control ([`~transformers.TrainerControl`]):
                What it shall do next.
            is_over (`bool`):
                Whether it is over: then those that have closed their logs open them once more.

        Returns:
            `bool`: Whether any of them logged it.
        """
        told = False
        for tracker in self._callbacks:
            if isinstance(tracker, _TRACKERS):
                try:
                    self._tell(tracker, address, args, state, control, is_over)
                    told = True
                except Exception as error:
                    logger.warning(f"{type(tracker).__name__} did not log that {address} is committed: {error}")
        return told

    def _tell(self, tracker, address: str, args, state, control, is_over: bool) -> None:
        reopened = is_over and isinstance(tracker, _CLOSE_WHEN_TRAINING_IS_OVER)
        if reopened and isinstance(tracker, TrackioCallback):
            args = copy.copy(args)  # the same run again, and no second page of it
            args.run_name, args.trackio_static_space_id = self._trackio_run, False
        tracker.on_log(args, state, control, logs={LOGGED_AS: address})
        if reopened:
            tracker.on_train_end(args, state, control)
