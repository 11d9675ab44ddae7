"""Resumes: the checkpoint comes to an empty disk, or is there already."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from hf_xet import hash_files
from huggingface_hub import BucketFile, HfApi

from transformers_buckets import CheckpointBucket, resume
from transformers_buckets.bucket import download, fetch
from transformers_buckets.bucket.address import step_of
from transformers_buckets.bucket.arrivals import Arrivals
from transformers_buckets.bucket.files import list_files, measure
from transformers_buckets.bucket.manifest import Manifest

from .pushes import one_checkpoint
from .workload import fresh_copy


def pull_in_turns(folder: Path, parameters: float, repetitions: int) -> list[dict]:
    """
    Bring a checkpoint to disk by hf_xet alone and by this package in turns; then once more where it lies already.

    Args:
        folder (`Path`):
            For checkpoints.
        parameters (`float`):
            Size of the model.
        repetitions (`int`):
            How many times each, after one that does not count.

    Returns:
        `list[dict]`: `way`, `start` and `end` by `time.time`, `seconds`, `verification` in seconds (the part of the
        former that is left when all has arrived) and size of the `manifest` for each. Ways are `"alone"`, `"empty"`, `"intact"`, and `"hash"`, which reads the same files once.
    """
    made = one_checkpoint(folder / "made", parameters)
    pushed = fresh_copy(made, folder / "pushed" / made.name)
    bucket = CheckpointBucket(f"demo/pull-{uuid4().hex[:8]}")
    bucket.create()
    manifest = bucket.push(pushed, manifest=Manifest(step_of(made.name), measure(list_files(pushed))))
    shutil.rmtree(folder / "pushed")
    pulls = []
    for repetition in range(repetitions + 1):
        turns = [_alone, _empty_and_intact]
        for turn in turns if repetition % 2 else reversed(turns):
            pulled = turn(bucket, manifest, folder / "resumed")
            shutil.rmtree(folder / "resumed")
            if repetition:
                pulls += [{**pull, "manifest": len(manifest.to_json())} for pull in pulled]
    return pulls


def _alone(bucket: CheckpointBucket, manifest: Manifest, output_dir: Path) -> list[dict]:
    files = [
        (
            BucketFile(
                type="file", path=f"checkpoint-{manifest.step}/{path}", size=record.size, xetHash=record.xet_hash
            ),
            output_dir / path,
        )
        for path, record in manifest.files.items()
    ]
    api = HfApi()
    downloaded = _measured("alone", lambda: api.download_bucket_files(bucket.address.bucket_id, files))
    local = [str(file) for _, file in files]
    return [downloaded, _measured("hash", lambda: hash_files(local))]


def _empty_and_intact(bucket: CheckpointBucket, manifest: Manifest, output_dir: Path) -> list[dict]:
    """What `train(resume_from_checkpoint=True)` does before it begins."""

    def bring() -> None:
        resume.pull(resume.newest(bucket, str(output_dir)), str(output_dir), token=None, with_best=False)

    return [_measured("empty", bring), _measured("intact", bring)]


def _measured(way: str, pull: Callable[[], object]) -> dict:
    """Verification: what takes time between the last byte and the folder's name, or to compare what lies there."""
    verification = 0.0

    def timed(look: Callable) -> Callable:
        def look_and_time(*args):
            nonlocal verification
            start = time.perf_counter()
            try:
                return look(*args)
            finally:
                verification += time.perf_counter() - start

        return look_and_time

    compare, wrong_files, end_of_arrivals = download.compare, fetch.wrong_files, Arrivals.__exit__
    download.compare, fetch.wrong_files = timed(compare), timed(wrong_files)
    Arrivals.__exit__ = timed(end_of_arrivals)
    start = time.time()
    try:
        pull()
    finally:
        download.compare, fetch.wrong_files, Arrivals.__exit__ = compare, wrong_files, end_of_arrivals
    end = time.time()
    return dict(way=way, start=start, end=end, seconds=end - start, verification=verification)
