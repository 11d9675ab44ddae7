"""Which run in which bucket the flags of a training mean, whoever declares them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .bucket.address import BucketAddress
from .bucket.errors import BucketAccessError, BucketAddressError


def bucket_address(args) -> BucketAddress:
    """
    Where the run of these arguments lives.

    Args:
        args ([`~transformers.TrainingArguments`]):
            With `bucket_id`, or without.

    Raises:
        [`BucketAddressError`]: If they cannot name a bucket.
    """
    if getattr(args, "bucket_id", None) is not None:  # plain transformers.TrainingArguments lack the flag
        address = BucketAddress.parse(args.bucket_id, "bucket_id")
    elif args.hub_model_id is not None:
        address = BucketAddress.parse(args.hub_model_id, "hub_model_id (bucket_id is not set)")
    else:
        name = Path(args.output_dir).absolute().name
        address = BucketAddress.parse(name, "last component of output_dir (bucket_id is not set)")
    if address.checkpoint:
        raise BucketAddressError(
            f"bucket_id={args.bucket_id!r} names a checkpoint, not a run: write {str(address.run)!r}, and pass the "
            "checkpoint to train(resume_from_checkpoint=...)."
        )
    return address


@contextmanager
def naming_the_flags() -> Iterator[None]:
    """Add what a training can do about a bucket that cannot be used."""
    try:
        yield
    except BucketAccessError as error:
        raise BucketAccessError(
            f"{error} In a training, hub_token passes another token, and push_to_bucket=False does without a bucket."
        ) from None
