"""Trainings with `keep_local=False`, and what an ordinary save leaves, to compare with."""

from pathlib import Path

import pytest
import torch

from tests.hub.callbacks import At
from tests.training import digests, tiny_trainer
from transformers_buckets import BucketPushError, CheckpointBucket


ALL = ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
NAMED = {"training_args.bin", "trainer_state.json", "README.md"}  # folders and times differ
BATCH, DATA = "POST .*/batch", "POST /v1/xorbs"


def no_disk(output_dir, bucket_id, **arguments):
    return tiny_trainer(output_dir, bucket_id=bucket_id, **{"keep_local": False, "hub_always_push": True, **arguments})


def there(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_same(bucket_id: str, name: str, plain: Path, folder: Path) -> None:
    """What is committed is what an ordinary save left: byte for byte, but for the name that torch gives to an archive."""
    pulled = CheckpointBucket(bucket_id).pull(name, folder)
    ours, theirs = digests(pulled), digests(plain)
    assert ours.keys() == theirs.keys()
    for path in {path for path in ours if ours[path] != theirs[path]} - NAMED:
        assert path.endswith((".pt", ".pth"))
        first, second = torch.load(pulled / path), torch.load(plain / path)
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def leave_behind(hub, output_dir, bucket_id, **arguments) -> BucketPushError:
    """A training whose last checkpoint no Hub took: it is on local disk."""
    away = At(on_train_begin=lambda _: hub.fault(BATCH, status=403, times=None))
    with pytest.raises(BucketPushError) as raised:
        no_disk(output_dir, bucket_id, callbacks=[away], **arguments).train()
    hub.clear_faults()
    return raised.value
