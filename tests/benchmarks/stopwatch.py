"""Takes the time of what happens on the training thread, and decides when a training saves."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from transformers import TrainerCallback

from .workload import size_of


@dataclass
class Save:
    """
    One save, by the clock of `time.time`, which the request log of the local Hub uses too.

    Args:
        step (`int`):
            Global step.
        start (`float`), end (`float`):
            When the training thread stopped and went on.
        busy (`bool`):
            Whether the push of the save before was still under way.
        parts (`dict[str, float]`):
            Seconds of the stop by what took them, as far as that was watched.
        landed (`float`, *optional*):
            When it was safe on the Hub.
        disk (`int`):
            Bytes of `output_dir` one step later.
    """

    step: int
    start: float
    busy: bool
    end: float = 0.0
    landed: float | None = None
    disk: int = 0
    parts: dict[str, float] = field(default_factory=dict)


class Stopwatch:
    """
    Mixed in front of a trainer: a [`Save`] for each save, and begin and end of each step.

    Its subclasses tell when a push is under way.
    """

    is_pushing = False

    def __init__(self, *args, **kwargs):
        self.saves: list[Save] = []
        self.steps: list[tuple[float, float]] = []
        super().__init__(*args, **kwargs)
        # Not a method of this class: `async_save` leaves alone a trainer that saves in its own way.
        self._save_checkpoint = partial(self._save_and_time, self._save_checkpoint)

    def _save_and_time(self, save_checkpoint: Callable, model, trial) -> None:
        save = Save(self.state.global_step, time.time(), self.is_pushing)
        self.saves.append(save)
        save_checkpoint(model, trial)
        save.end = time.time()

    def watch(self, part: str, owner: object, method: str) -> None:
        """From now on, the time that a method takes on the training thread is a part of the stop."""
        watched = getattr(owner, method)

        def timed(*args, **kwargs):
            start = time.time()
            try:
                return watched(*args, **kwargs)
            finally:
                if threading.current_thread() is threading.main_thread() and self.saves:
                    parts = self.saves[-1].parts
                    parts[part] = parts.get(part, 0.0) + time.time() - start

        setattr(owner, method, timed)

    def land(self, step: int) -> None:
        """Called from any thread when the checkpoint of a step is safe on the Hub."""
        now = time.time()
        for save in self.saves:
            if save.step == step:
                save.landed = now


class UpstreamStopwatch:
    """Mixed in right in front of `transformers.Trainer`: what the stop would be without the classes before it."""

    def _save_checkpoint(self, model, trial) -> None:
        start = time.time()
        super()._save_checkpoint(model, trial)
        self.saves[-1].parts["transformers"] = time.time() - start


class Pace(TrainerCallback):
    """
    Saves once the push of the save before is through, then a last time on the heels of another save, and ends.

    Args:
        trainer ([`Stopwatch`]):
            The trainer.
        saves (`int`):
            How many saves before the last one.
        steps (`int`):
            How many steps at least between saves.
    """

    def __init__(self, trainer: Stopwatch, saves: int, steps: int):
        self.trainer, self.quiet_saves, self.steps_between = trainer, saves, steps

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = time.time()

    def on_step_end(self, args, state, control, **kwargs):
        self.trainer.steps.append((self.began, time.time()))
        saves = self.trainer.saves
        steps = state.global_step - (saves[-1].step if saves else 0)
        is_quiet = steps >= self.steps_between and not self.trainer.is_pushing
        if saves and steps == 1:
            saves[-1].disk = size_of(Path(args.output_dir))
        if len(saves) < self.quiet_saves:
            control.should_save = is_quiet
        elif len(saves) == self.quiet_saves:
            control.should_save = steps >= 2
        else:
            control.should_training_stop = is_quiet
        if control.should_save and is_quiet:
            os.sync()
        return control
