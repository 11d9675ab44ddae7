"""How a training ends: what is missing in the bucket is raised, with the result and the model at hand."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.trainer_utils import TrainOutput

from .bucket.errors import BucketError, BucketPushError
from .trainer_bucket import TrainerBucket


logger = logging.getLogger(__name__)


@contextmanager
def until_landed(bucket: TrainerBucket | None) -> Iterator[None]:
    """
    In this context a training runs; it is left when everything has landed. All ranks must call this.

    Args:
        bucket ([`TrainerBucket`], *optional*):
            The run; `None` if the training does not push to a bucket.

    Raises:
        [`BucketPushError`]: If a checkpoint could not be pushed, or a model that the user asked to push.
    """
    try:
        yield
    except BaseException as error:
        if bucket is not None:
            bucket.finish_after(error)
        raise
    if bucket is not None:
        bucket.finish()


def finish(trainer, bucket: TrainerBucket, output: TrainOutput, stopped: bool) -> None:
    """
    Wait until everything has landed. All ranks must call this.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
        bucket ([`TrainerBucket`]):
            Its run.
        output ([`~transformers.trainer_utils.TrainOutput`]):
            What the training comes to.
        stopped (`bool`):
            Whether a SIGTERM ended it, maybe after its last step.

    Raises:
        [`BucketPushError`]: If a checkpoint could not be pushed, or a model that the user asked to push.
        [`BucketError`]: If the best model was asked for and is not the one at hand.
    """
    why_not_best, bucket.why_not_best = bucket.why_not_best, None
    step, steps = trainer.state.global_step, trainer.state.max_steps
    early = stopped and not is_finished(trainer)
    try:
        with _not_ended_by_sigterm(trainer.args) as came:
            bucket.finish()
    except BucketError as error:
        where = f"Stopped at step {step} of {steps}; not finished." if early else ""
        missing = BucketPushError(" ".join(filter(None, (where, str(error), _save_in_spite(trainer), why_not_best))))
        missing.output = output
        raise missing from None
    if (stopped or came) and trainer.is_world_process_zero():
        committed = bucket.last_committed
        if early:
            logger.warning(f"Stopped at step {step} of {steps}; {committed} is committed; not finished.")
        else:
            logger.info(f"A SIGTERM came, but training is finished at step {step}; {committed} is committed.")
    if why_not_best:  # whoever asked for the best model must not take this one for it
        raise BucketError(f"Nothing is left to push. {why_not_best}")


def is_finished(trainer) -> bool:
    """Whether a trainer has done its last step, whatever came in between."""
    return trainer.state.global_step >= trainer.state.max_steps


@contextmanager
def _not_ended_by_sigterm(args) -> Iterator[list[int]]:
    """In this context, a SIGTERM is noted, and the wait goes on: with `enable_jit_checkpoint`, for which others listen until here."""
    came = []
    if not args.enable_jit_checkpoint or threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number, frame) -> None:
        came.append(number)
        logger.warning("A SIGTERM came while training waits for its last push: it goes on waiting.")

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _save_in_spite(trainer) -> str:
    """Save the model to local disk: the script may not get to its own save."""
    try:
        trainer.save_model(_internal_call=True)
    except Exception as error:
        return f"The trained model could not be saved either: {error}"
    return f"The model is in {trainer.args.output_dir}."
