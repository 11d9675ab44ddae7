"""What must hold after a crash, whatever the moment."""

import tempfile

import pytest
import torch

from tests.crash.life import Machine
from tests.training import digests
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.contents import is_weights
from transformers_buckets.bucket.files import WORK_FOLDER


# Before each request, and after each one that changes something on the Hub: reading has no effect to be killed after.
every_request = pytest.mark.parametrize(("match", "applied"), [(".", False), ("^POST", True)], ids=["before", "after"])


def check_latest(bucket_id: str, machine: Machine) -> str | None:
    """What "latest" chooses is byte-identical to a save; it is nothing only as long as nothing was committed."""
    run = CheckpointBucket(bucket_id)
    told = machine.log()  # before the Hub is asked: where only that died, the training goes on meanwhile
    chosen, _ = run.find_latest()
    if chosen is None:
        assert "Committed" not in told
        return None
    with tempfile.TemporaryDirectory() as folder:
        assert digests(run.pull(chosen, folder)) in machine.saved(chosen.name), chosen.name
    return chosen.name


def check_delivered(bucket_id: str, machine: Machine, name: str) -> None:
    """The last save is the latest, the root of the run has its model, and no work is left on disk."""
    run = CheckpointBucket(bucket_id)
    chosen = run.latest()
    assert chosen.name == name
    with tempfile.TemporaryDirectory() as folder:
        assert digests(run.pull(chosen, folder)) == machine.saved(name)[-1] == digests(machine.output_dir / name)
    model = {path: record for path, record in chosen.manifest.files.items() if is_weights(path)}
    at_root = run.api.get_bucket_paths_info(bucket_id, list(model))
    assert {file.path: (file.size, file.xet_hash) for file in at_root} == model
    for work in ("outbox", "downloads"):
        assert not digests(machine.output_dir / WORK_FOLDER / work)


def check_same_end(machine: Machine, reference: Machine) -> None:
    """Both trainings ended with the same weights, bit for bit."""
    ours, theirs = machine.weights(), reference.weights()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
