"""What lies on the local Hub, and what went over the wire to get there."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import BucketNotFoundError, RepositoryNotFoundError

from transformers_buckets import CheckpointBucket


def bucket_files(bucket_id: str) -> set[str] | None:
    """Every path in a bucket; `None` if there is no such bucket."""
    try:
        return {entry.path for entry in HfApi().list_bucket_tree(bucket_id, recursive=True) if entry.type == "file"}
    except BucketNotFoundError:
        return None


def root_files(bucket_id: str) -> set[str]:
    """The files at the root of a bucket, but for the file of the run."""
    return {path for path in bucket_files(bucket_id) if "/" not in path} - {"bucket_run.json"}


def repo_files(repo_id: str) -> set[str] | None:
    """Every path in a model repository; `None` if there is no such repository."""
    try:
        return set(HfApi().list_repo_files(repo_id))
    except RepositoryNotFoundError:
        return None


def committed(bucket_id: str) -> list[str]:
    """The committed checkpoints of a run, the oldest commit first."""
    return [checkpoint.name for checkpoint in CheckpointBucket(bucket_id).committed()]


def download(bucket_id: str, paths: set[str], folder: Path) -> dict[str, bytes]:
    """The contents of files in a bucket."""
    HfApi().download_bucket_files(bucket_id, [(path, folder / path) for path in paths])
    return {path: (folder / path).read_bytes() for path in paths}


def uploaded_bytes(requests) -> int:
    """What the Xet storage received of data."""
    return sum(request.received for request in requests if "/xorbs/" in request.path)
