"""The runs below a folder of a bucket: sweeps, trials of a hyperparameter search, experiments that share a bucket."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from huggingface_hub import BucketFile

from .address import BucketAddress, step_of
from .hub_client import explained
from .manifest import MANIFEST_NAME
from .reader import BucketReader


@dataclass(frozen=True)
class RunSummary:
    """
    A run, as a listing of its files shows it.

    Args:
        address ([`BucketAddress`]):
            Where it lives.
        checkpoints (`int`):
            How many of its checkpoints have a manifest.
        committed_at (`datetime`):
            When the last manifest was uploaded, by the clock of the Hub.
        size (`int`):
            Bytes of all its checkpoints together.
    """

    address: BucketAddress
    checkpoints: int
    committed_at: datetime
    size: int


def runs_below(run: BucketReader) -> list[RunSummary]:
    """
    The runs in the folders below a run, at any depth, by their address. One listing; nothing is downloaded.

    Args:
        run ([`BucketReader`]):
            The folder to look below. What it holds itself does not count.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    prefix = run.address.path("")
    start = f"{prefix}/" if prefix else ""

    def list_checkpoints() -> dict[str, list[BucketFile]]:
        found = defaultdict(list)
        for file in run.api.list_bucket_tree(run.address.bucket_id, prefix=start or None, recursive=True):
            if isinstance(file, BucketFile) and file.path.startswith(start) and file.path.isprintable():
                folders = file.path[len(start) :].split("/")[:-1]
                depth = next((i for i, folder in enumerate(folders) if step_of(folder) is not None), 0)
                if depth:
                    found["/".join(folders[:depth])].append(file)
        return found

    summaries = []
    for folder, files in sorted(explained(list_checkpoints, str(run.address)).items()):
        marks = [file for file in files if file.path.endswith(f"/{MANIFEST_NAME}")]
        if marks:
            summaries.append(
                RunSummary(
                    run.address.below(folder),
                    len(marks),
                    max(mark.uploaded_at for mark in marks),
                    sum(file.size for file in files),
                )
            )
    return summaries
