"""A save of `torch.distributed.checkpoint` is killed by SIGKILL at every request it makes."""

import multiprocessing
import os
import signal
from itertools import count

import pytest
import torch
import torch.distributed.checkpoint as dcp

from tests.crash.checks import every_request
from transformers_buckets import BucketStorageReader, BucketStorageWriter, CheckpointBucket


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])
pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.distributed is disabled", "ignore:Detected an existing checkpoint"
)


def _live(cache, address, content, pipe) -> None:
    os.environ["HF_XET_CACHE"] = str(cache)
    pipe.recv()
    save(address, content)


def killed_at(hub, skip: int, match: str, applied: bool, *arguments) -> bool:
    """Save in a process that is killed at a request, before or after that is applied; whether it came so far."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=_live, args=(*arguments, theirs))
    process.start()
    hub.fault(match, kill=process.pid, skip=skip, lose_response=applied)
    ours.send("go on")
    process.join()
    hub.clear_faults()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def save(address: str, content: float) -> None:
    """Save a tensor of which all numbers are the same."""
    state = {"weights": torch.full((300_000,), content)}
    dcp.save(state, storage_writer=BucketStorageWriter(address))


def held(run: CheckpointBucket) -> dict[str, float]:
    """What the committed checkpoints hold, all of it verified."""
    found = {}
    for checkpoint in run.committed():
        assert run.verify(checkpoint) == []
        state = {"weights": torch.zeros(300_000)}
        dcp.load(state, storage_reader=BucketStorageReader(f"{run.address}/{checkpoint.name}"))
        (found[checkpoint.name],) = state["weights"].unique().tolist()
    return found


@pytest.fixture
def run(hub, bucket_id):
    """Holds a committed checkpoint-2, full of ones."""
    save(f"hf://buckets/{bucket_id}/checkpoint-2", 1.0)
    return CheckpointBucket(bucket_id)


@pytest.mark.parametrize(
    ("match", "skip", "applied", "committed"),
    [
        pytest.param("POST /v1/xorbs", 0, True, False, id="data-is-stored"),
        pytest.param("POST /v2/shards", 1, True, False, id="all-data-is-stored"),
        pytest.param("/batch", 1, True, False, id="files-are-there"),  # batch 0 checked the right to write
        pytest.param("/batch", 2, True, False, id="its-place-is-announced"),
        pytest.param("/batch", 3, False, False, id="manifest-is-missing"),
        pytest.param("/batch", 3, True, True, id="manifest-is-there"),
    ],
)
def test_what_counts_is_the_manifest(hub, run, tmp_path, match, skip, applied, committed):
    assert killed_at(hub, skip, match, applied, tmp_path, f"{run.address}/checkpoint-4", 2.0)

    assert held(run) == {"checkpoint-2": 1.0} | ({"checkpoint-4": 2.0} if committed else {})


@pytest.mark.slow
@every_request
@pytest.mark.parametrize("name", ["checkpoint-2", "checkpoint-4"], ids=["over-an-older-one", "beside-an-older-one"])
def test_no_request_is_the_wrong_moment(hub, run, tmp_path, name, match, applied):
    for skip in count():
        older, newer = float(2 * skip + 1), float(2 * skip + 2)
        save(f"{run.address}/checkpoint-2", older)
        run.delete(["checkpoint-4"])
        if not killed_at(hub, skip, match, applied, tmp_path / f"xet-{skip}", f"{run.address}/{name}", newer):
            break
        if name == "checkpoint-4":
            assert held(run) in ({"checkpoint-2": older}, {"checkpoint-2": older, "checkpoint-4": newer})
        else:  # that it is gone for a moment cannot be helped; that it is a mixture can
            assert held(run) in ({}, {"checkpoint-2": older}, {"checkpoint-2": newer})
    assert skip > 3
    assert held(run)[name] == newer
