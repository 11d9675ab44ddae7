"""A `transformers` training run that lives in an HF Storage Bucket."""

import importlib

from . import console
from .bucket.version import VERSION


__version__ = VERSION

# Imported on first use: the commands need neither torch nor transformers, and both take seconds to import.
_HOME_OF = {
    "BrokenCheckpointError": "bucket.errors",
    "BucketAccessError": "bucket.errors",
    "BucketAddressError": "bucket.errors",
    "BucketArguments": "training_args",
    "BucketError": "bucket.errors",
    "BucketPushError": "bucket.errors",
    "BucketTrainerMixin": "trainer",
    "CheckpointBucket": "bucket.writer",
    "CheckpointNotFoundError": "bucket.errors",
    "RemoteCheckpoint": "bucket.checkpoint",
    "Seq2SeqTrainer": "trainer",
    "Seq2SeqTrainingArguments": "training_args",
    "TokenFoundError": "bucket.errors",
    "Trainer": "trainer",
    "TrainingArguments": "training_args",
    "download_latest_checkpoint_from_bucket": "bucket.writer",
}
__all__ = list(_HOME_OF)

console.set_up()


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
