"""What to do beside a base class that pushes to buckets itself, as pull request 46386 of transformers would have it do."""

from collections.abc import Iterator
from contextlib import contextmanager

from .training_args import BucketArguments, wants_bucket


def pushes_itself(args) -> bool:
    """Whether these arguments have the flag from a class that is not ours, so that the base class acts on it too."""
    return any(
        "push_to_bucket" in getattr(base, "__dataclass_fields__", ()) and not issubclass(base, BucketArguments)
        for base in type(args).__mro__
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
