"""Something happens in the middle of a training."""

from collections.abc import Callable

from transformers import TrainerCallback, TrainerState

from tests.training import digests


class At(TrainerCallback):
    """
    Calls functions at events of a training.

    Args:
        events (`dict[str, Callable[[TrainerState], None]]`):
            Functions by the name of the event, such as `on_save`.
    """

    def __init__(self, **events: Callable[[TrainerState], None]):
        for event, function in events.items():

            def call(args, state, control, function=function, **_) -> None:
                function(state)

            setattr(self, event, call)


class Saved(TrainerCallback):
    """Remembers what every checkpoint consisted of when it was saved, by its name."""

    def __init__(self):
        self.digests: dict[str, dict[str, str]] = {}

    def on_save(self, args, state, control, **kwargs):
        name = f"checkpoint-{state.global_step}"
        self.digests[name] = digests(f"{args.output_dir}/{name}")


class Pushes(TrainerCallback):
    """Counts `on_push_begin`."""

    def __init__(self):
        self.begun = 0

    def on_push_begin(self, args, state, control, **kwargs):
        self.begun += 1
