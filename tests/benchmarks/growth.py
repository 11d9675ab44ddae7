"""Buckets and repositories that hold many checkpoints already, made cheaply: data is copied on the side of the Hub."""

from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.files import measure
from transformers_buckets.bucket.manifest import MANIFEST_NAME, Manifest, Place, PushId


FIRST_STEP = 1_000_000  # the steps of a training here come nowhere near
_FILES = ("config.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json")


def grow(letter: str, target: str, checkpoints: int, folder: Path) -> None:
    """
    Fill a bucket, or a model repository for variant (b), with committed checkpoints of a few bytes.

    Args:
        letter (`str`):
            Which variant will push there.
        target (`str`):
            `namespace/name`.
        checkpoints (`int`):
            How many.
        folder (`Path`):
            For temporary files.
    """
    names = [f"checkpoint-{FIRST_STEP + index}" for index in range(checkpoints)]
    if letter == "b":
        api = HfApi()
        api.create_repo(target)
        files = [CommitOperationAdd(f"{name}/{file}", file.encode()) for name in names for file in _FILES]
        api.create_commit(target, files, commit_message="Checkpoints of other days")
        return
    bucket = CheckpointBucket(target)
    bucket.create()
    first = folder / names[0]
    first.mkdir(parents=True)
    for file in _FILES:
        (first / file).write_text(file)
    sizes = measure({file: first / file for file in _FILES})
    manifest = bucket.push(first, manifest=Manifest(FIRST_STEP, sizes, push_id=PushId("other-days", 0)))
    copies = [
        ("bucket", bucket.address.bucket_id, record.xet_hash, f"{name}/{path}")
        for name in names[1:]
        for path, record in manifest.files.items()
    ]
    bucket.api.batch_bucket_files(bucket.address.bucket_id, copy=copies)
    manifests = [
        replace(manifest, step=FIRST_STEP + index, place=Place(manifest.place.claim, manifest.place.number + index))
        for index in range(1, checkpoints)
    ]
    if manifests:
        files = [(one.to_json(), f"{name}/{MANIFEST_NAME}") for one, name in zip(manifests, names[1:], strict=True)]
        bucket.api.batch_bucket_files(bucket.address.bucket_id, add=files)
        bucket.root.committed(names[-1], manifests[-1])
        bucket.root.push({})  # the file of the run says so
