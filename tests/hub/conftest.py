"""What happens to a training from outside."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest


class Sigterm:
    """A SIGTERM to this process, in the middle of a training with `enable_jit_checkpoint`."""

    def at(self, step: int) -> Callable:
        """What sends it at a step. Training goes on when it has been noticed."""

        def send(state) -> None:
            if state.global_step == step:
                os.kill(os.getpid(), signal.SIGTERM)
                while not self._manager.is_checkpoint_requested:
                    pass

        return send

    def is_awaited_by(self, trainer) -> None:
        """This trainer is to notice it, and at once."""
        # Only now: the tests of the local Hub do without transformers, which takes seconds to import.
        from transformers.trainer_jit_checkpoint import JITCheckpointCallback

        callbacks = trainer.callback_handler.callbacks
        listening = next(callback for callback in callbacks if isinstance(callback, JITCheckpointCallback))
        self._manager = listening.jit_manager
        self._manager.kill_wait = 0


@pytest.fixture
def sigterm() -> Iterator[Sigterm]:
    """Nothing happens on SIGTERM but what a training makes of it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield Sigterm()
    signal.signal(signal.SIGTERM, before)
