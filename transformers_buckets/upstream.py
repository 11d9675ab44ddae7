"""What to do beside a base class that pushes to buckets itself, as pull request 46386 of transformers would have it do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import transformers

from .training_args import BucketArguments, wants_bucket


logger = logging.getLogger(__name__)

_PLAIN_ARGUMENTS = (
    transformers.TrainingArguments,
    transformers.Seq2SeqTrainingArguments,
)  # before `run` replaces them


def pushes_itself(args) -> bool:
    """Whether these arguments have the flag from a class that is not ours, so that the base class acts on it too."""
    return any(
        "push_to_bucket" in getattr(base, "__dataclass_fields__", ()) and not issubclass(base, BucketArguments)
        for base in type(args).__mro__
    )


def say_who_pushes(trainer: str, args) -> None:
    """
    Tell what a user may not expect of these arguments.

    Args:
        trainer (`str`):
            Name of the trainer's class.
        args ([`~transformers.TrainingArguments`]):
            Its arguments.
    """
    if wants_bucket(args) and pushes_itself(args):
        logger.info(f"transformers_buckets pushes to the bucket; the base class of {trainer} leaves that to it.")
    elif not wants_bucket(args) and getattr(args, "bucket_id", None):
        logger.warning(f"bucket_id={args.bucket_id!r} has no effect without push_to_bucket=True: nothing is pushed.")
    elif not hasattr(args, "push_to_bucket") and type(args) not in _PLAIN_ARGUMENTS:
        name = type(args).__name__
        logger.warning(
            f"{trainer} cannot push to a bucket: {name} lacks the flags. "
            f"Write class Bucket{name}(BucketArguments, {name}) and give it that."
        )


@contextmanager
def silenced(args) -> Iterator[None]:
    """
    Let the base class leave the bucket alone meanwhile: it would push everything a second time, and without a manifest.

    Args:
        args ([`~transformers.TrainingArguments`], *optional*):
            The arguments that the base class reads.
    """
    if not wants_bucket(args) or not pushes_itself(args):
        yield
        return
    args.push_to_bucket = False
    try:
        yield
    finally:
        args.push_to_bucket = True
