"""A hook after each commit, on the training thread: for webhooks, trackers, evaluation elsewhere."""

import transformers
from transformers.trainer_callback import CallbackHandler

from .bucket.manifest import Manifest
from .trackers import Trackers
from .trainer_bucket import TrainerBucket


class BucketCallback(transformers.TrainerCallback):
    """
    A [`~transformers.TrainerCallback`] that hears of commits.

    Example:

    ```python
    from transformers_buckets import BucketCallback

    class TellTeam(BucketCallback):
        def on_bucket_commit(self, args, state, control, address, manifest, **kwargs):
            print(f"{address} is there: {manifest.size} bytes, step {manifest.step}")
    ```
    """

    def on_bucket_commit(self, args, state, control, address: str, manifest: Manifest, **kwargs) -> None:
        """
        Called when a checkpoint has been committed, on world rank zero: at the end of the next step, or when training is over.

        What it raises ends the training, as with any other event.

        Args:
            args ([`~transformers.TrainingArguments`]):
                The arguments of the training.
            state ([`~transformers.TrainerState`]):
                Where the training is by now.
            control ([`~transformers.TrainerControl`]):
                What the training shall do next.
            address (`str`):
                `hf://buckets/...` of the checkpoint.
            manifest ([`Manifest`]):
                What it consists of: `step`, `size`, `files`, `best_checkpoint`.
        """


class CommitTeller(transformers.TrainerCallback):
    """
    Calls `on_bucket_commit` of the other callbacks, and has trackers log the address.

    Args:
        handler (`CallbackHandler`):
            Those of the trainer.
    """

    def __init__(self, handler: CallbackHandler):
        self.handler = handler
        self.trackers = Trackers(handler.callbacks)
        self.bucket: TrainerBucket | None = None  # the one that is pushed to

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.trackers.remember()  # they come before this one

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self.bucket.drop_arrived()  # the first step: it is loaded

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.tell(args, state, control)

    def tell(self, args, state, control, is_over: bool = False) -> None:
        """Tell what was committed since the last call."""
        address = None
        for address, manifest in self.bucket.commits() if self.bucket else ():
            for callback in self.handler.callbacks:
                if isinstance(callback, BucketCallback):
                    callback.on_bucket_commit(args, state, control, address=address, manifest=manifest)
        if address and self.trackers.tell(address, args, state, control, is_over) and is_over:
            self.bucket.finish_logs()
