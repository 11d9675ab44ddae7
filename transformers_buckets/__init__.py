"""A `transformers` training run that lives in an HF Storage Bucket."""

import importlib

from . import console


__version__ = "0.1.0"

# Imported on first use: the commands need neither torch nor transformers, and both take seconds to import.
_HOME_OF = {
    "BrokenCheckpointError": "errors",
    "BucketAccessError": "errors",
    "BucketAddressError": "errors",
    "BucketArguments": "training_args",
    "BucketError": "errors",
    "BucketPushError": "errors",
    "BucketTrainerMixin": "trainer",
    "CheckpointBucket": "checkpoint_bucket",
    "CheckpointNotFoundError": "errors",
    "RemoteCheckpoint": "remote_checkpoint",
    "Seq2SeqTrainer": "trainer",
    "Seq2SeqTrainingArguments": "training_args",
    "Trainer": "trainer",
    "TrainingArguments": "training_args",
    "download_latest_checkpoint_from_bucket": "checkpoint_bucket",
}
__all__ = list(_HOME_OF)

console.set_up()


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
