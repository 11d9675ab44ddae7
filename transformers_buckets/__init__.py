"""A `transformers` training run that lives in an HF Storage Bucket."""

import importlib
from typing import TYPE_CHECKING

from . import console
from .bucket.version import VERSION


if TYPE_CHECKING:  # for editors and type checkers, which cannot follow an import on first use
    from .bucket.checkpoint import RemoteCheckpoint as RemoteCheckpoint
    from .bucket.download_latest import (
        download_latest_checkpoint_from_bucket as download_latest_checkpoint_from_bucket,
    )
    from .bucket.errors import BrokenCheckpointError as BrokenCheckpointError
    from .bucket.errors import BucketAccessError as BucketAccessError
    from .bucket.errors import BucketAddressError as BucketAddressError
    from .bucket.errors import BucketError as BucketError
    from .bucket.errors import BucketPushError as BucketPushError
    from .bucket.errors import CheckpointNotFoundError as CheckpointNotFoundError
    from .bucket.errors import RunTakenOverError as RunTakenOverError
    from .bucket.errors import TokenFoundError as TokenFoundError
    from .bucket.retention import keep_best as keep_best
    from .bucket.retention import keep_every as keep_every
    from .bucket.retention import keep_last as keep_last
    from .bucket.writer import CheckpointBucket as CheckpointBucket
    from .commit_callback import BucketCallback as BucketCallback
    from .dcp.reader import BucketStorageReader as BucketStorageReader
    from .dcp.writer import BucketStorageWriter as BucketStorageWriter
    from .trainer import BucketTrainerMixin as BucketTrainerMixin
    from .trainer import Seq2SeqTrainer as Seq2SeqTrainer
    from .trainer import Trainer as Trainer
    from .training_args import BucketArguments as BucketArguments
    from .training_args import Seq2SeqTrainingArguments as Seq2SeqTrainingArguments
    from .training_args import TrainingArguments as TrainingArguments

__version__ = VERSION

# Imported on first use: the commands need neither torch nor transformers, and both take seconds to import.
_HOME_OF = {
    "BrokenCheckpointError": "bucket.errors",
    "BucketAccessError": "bucket.errors",
    "BucketAddressError": "bucket.errors",
    "BucketArguments": "training_args",
    "BucketCallback": "commit_callback",
    "BucketError": "bucket.errors",
    "BucketPushError": "bucket.errors",
    "BucketStorageReader": "dcp.reader",
    "BucketStorageWriter": "dcp.writer",
    "BucketTrainerMixin": "trainer",
    "CheckpointBucket": "bucket.writer",
    "CheckpointNotFoundError": "bucket.errors",
    "RemoteCheckpoint": "bucket.checkpoint",
    "RunTakenOverError": "bucket.errors",
    "Seq2SeqTrainer": "trainer",
    "Seq2SeqTrainingArguments": "training_args",
    "TokenFoundError": "bucket.errors",
    "Trainer": "trainer",
    "TrainingArguments": "training_args",
    "download_latest_checkpoint_from_bucket": "bucket.download_latest",
    "keep_best": "bucket.retention",
    "keep_every": "bucket.retention",
    "keep_last": "bucket.retention",
}
__all__ = list(_HOME_OF)

console.set_up()


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
