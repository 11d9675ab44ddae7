"""The helper of pull request 46386 of transformers, under its name."""

import logging
from pathlib import Path

from .address import BucketAddress
from .checkpoint import listed
from .writer import CheckpointBucket


logger = logging.getLogger(__name__)


def download_latest_checkpoint_from_bucket(
    bucket_id: str, output_dir: str | Path, token: str | None = None
) -> str | None:
    """
    Bring the latest committed checkpoint of a run to local disk, verified. Name and shape are those of upstream.

    Args:
        bucket_id (`str`):
            `namespace/name[/prefix][/checkpoint-<step>]` or `hf://buckets/...`. One that names a checkpoint means that one.
        output_dir (`str` or `Path`):
            Folder to hold the checkpoint's folder.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Returns:
        `str`, *optional*: The path of the checkpoint on local disk; `None` if the bucket holds none.

    Raises:
        [`BucketAddressError`]: If `bucket_id` cannot name a bucket.
        [`CheckpointNotFoundError`]: If it names a checkpoint that is not there.
        [`BucketAccessError`]: If the bucket cannot be read.

    Example:

    ```python
    >>> from transformers_buckets import download_latest_checkpoint_from_bucket

    >>> download_latest_checkpoint_from_bucket("my-org/my-run", "out")
    'out/checkpoint-1000'
    ```
    """
    address = BucketAddress.parse(bucket_id, "bucket_id")
    bucket = CheckpointBucket(address.run, token=token)
    if address.checkpoint:
        return str(bucket.pull(address.checkpoint, output_dir))
    checkpoint, passed_over = bucket.find_latest()
    if passed_over:
        logger.warning(f"{bucket.address}: passed over {listed(passed_over, '; ')}.")
    return None if checkpoint is None else str(bucket.pull(checkpoint, output_dir))
