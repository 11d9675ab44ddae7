"""Checkpoints without a training: a few files, enough for listing, choosing and pulling."""

import json
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path
from random import Random

from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.files import list_files, measure, write_manifest
from transformers_buckets.bucket.manifest import FileRecord, Manifest, Place, PushId


SIZES = {"model.safetensors": 200_000, "optimizer.pt": 400_000, "rng_state.pth": 10_000}
SIZE = sum(SIZES.values())


def write_checkpoint(folder: Path, seed: object = 0, best: str | None = None, sizes: dict[str, int] = SIZES) -> Path:
    """A folder that could be a checkpoint; its content depends on its name and the seed."""
    random = Random(f"{folder.name} {seed}")
    for path, size in sizes.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            tensor_file(random.randbytes(size)) if path.endswith(".safetensors") else random.randbytes(size)
        )
    state = {"global_step": int(folder.name.split("-")[1]), "best_model_checkpoint": best, "best_global_step": None}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def tensor_file(content: bytes) -> bytes:
    """A safetensors file of that size, with most of that content."""
    size = len(content) - 200
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode().ljust(192)
    return struct.pack("<Q", len(header)) + header + content[200:]


def push_checkpoint(address: str, folder: Path, best: str | None = None, **options) -> Path:
    """Write a checkpoint and commit it to a run, whose bucket is created if need be."""
    run = CheckpointBucket(address)
    run.create()
    write_checkpoint(folder, best=best and f"/elsewhere/{best}", **options)
    run.root.refresh(run.push(folder))
    return folder


def save_locally(folder: Path, after: CheckpointBucket, claim: int | None = None, seed: object = 0) -> Path:
    """Write a checkpoint as a training does that goes on from the latest of a run, or took the run over at another time."""
    write_checkpoint(folder, seed=seed)
    last = after.latest().manifest
    place = Place(last.place.claim if claim is None else claim, last.place.number + 1)
    files, push_id = measure(list_files(folder)), PushId("another process", place.number)
    step = int(folder.name.split("-")[1])
    write_manifest(folder, replace(last, step=step, files=files, place=place, push_id=push_id))
    return folder


def put(api, bucket_id: str, **files: str | bytes) -> None:
    """Write files as they are, by any tool: `put(api, id, **{"checkpoint-4/model.safetensors": b"..."})`."""
    api.create_bucket(bucket_id, exist_ok=True)
    content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    api.batch_bucket_files(bucket_id, add=[(data, path) for path, data in content.items()])


def records(api, bucket_id: str, prefix: str) -> dict[str, FileRecord]:
    """What the Hub knows of the files below a folder."""
    files = api.list_bucket_tree(bucket_id, prefix=f"{prefix}/", recursive=True)
    return {file.path.removeprefix(f"{prefix}/"): FileRecord(file.size, file.xet_hash) for file in files}


def manifest_of(step: int, files: dict[str, FileRecord], **fields) -> bytes:
    """The content of a manifest, true or not."""
    return Manifest(step=step, files=files, **fields).to_json()


def smuggle(hub, bucket_id: str, path: str, source: str) -> None:
    """Give a file of a bucket a second name, any name, behind the back of the Hub, which would refuse some."""
    namespace, name = bucket_id.split("/")
    with sqlite3.connect(hub.directory / "hub.sqlite") as database:
        database.execute(
            "INSERT INTO bucket_files SELECT bucket, ?, xet_hash, size, mtime, uploaded_at, content_type "
            "FROM bucket_files JOIN buckets ON buckets.id = bucket WHERE namespace = ? AND name = ? AND path = ?",
            (path, namespace, name, source),
        )
    database.close()


def downloaded(hub) -> int:
    """Bytes of content that left the Hub since the request log was emptied."""
    return sum(request.sent for request in hub.requests("GET /xorbs/"))
