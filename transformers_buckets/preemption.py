"""SIGTERM on several processes: whichever of them it reaches, and when, all save at the same step and stop."""

from accelerate import PartialState
from transformers import Trainer, TrainerCallback
from transformers.trainer_jit_checkpoint import JITCheckpointCallback


class PreemptionAgreement(TrainerCallback):
    """
    Has all ranks stop together if one of them is to stop (`enable_jit_checkpoint`).

    transformers lets each process save and stop on its own, at the step that it happens to be at. The others then wait in
    vain for it, and each node has another last checkpoint. Costs one number that all ranks exchange after each step.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
        asked ([`~transformers.trainer_jit_checkpoint.JITCheckpointCallback`]):
            What listens for the signal on this rank.
    """

    def __init__(self, trainer: Trainer, asked: JITCheckpointCallback):
        self.trainer, self.asked = trainer, asked
        # Private, and the only place where it acts on the signal: it sets the mark by which this rank alone would save.
        asked.jit_manager._enable_checkpoint = self.ask

    def ask(self) -> None:
        """Say that this rank is to stop. Called on another thread than that of the training."""
        self.trainer.accelerator.set_trigger()

    def on_step_end(self, args, state, control, **kwargs):
        if self.trainer.accelerator.check_trigger():
            self.asked.jit_manager.is_checkpoint_requested = True
            self.asked.on_step_end(args, state, control, **kwargs)


def agree_on_preemption(trainer: Trainer) -> None:
    """
    Have the ranks of a training agree on when a SIGTERM ends it, if there are several and they listen for one.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer, on every rank.
    """
    callbacks = trainer.callback_handler.callbacks
    if PartialState().num_processes == 1 or any(isinstance(callback, PreemptionAgreement) for callback in callbacks):
        return
    for callback in callbacks:
        if isinstance(callback, JITCheckpointCallback) and callback.jit_manager:
            trainer.add_callback(PreemptionAgreement(trainer, callback))
