"""A training without a disk is killed: what is committed is whole, memory is not lost for good, and an empty machine goes on."""

import pytest

from tests.crash.checks import check_same_end
from tests.crash.life import Life, Machine, live
from transformers_buckets import CheckpointBucket


@pytest.fixture(scope="module")
def reference(session_hub, tmp_path_factory):
    """A training that nothing disturbed."""
    machine = Machine(tmp_path_factory.mktemp("reference"))
    live(machine, seed=1, push_to_bucket=False)
    return machine


@pytest.mark.parametrize(
    ("match", "skip", "applied"),
    [
        pytest.param("POST /v1/xorbs", 2, True, id="data-is-stored"),  # and nothing in the bucket knows of it
        pytest.param(
            "/batch", 2, True, id="small-files-are-there", marks=pytest.mark.slow
        ),  # before: the right to write, who writes
        pytest.param("/batch", 3, True, id="all-files-are-there"),
        pytest.param("/batch", 4, True, id="manifest-is-there", marks=pytest.mark.slow),
        pytest.param("/batch", 8, False, id="second-manifest-is-missing"),
    ],
)
def test_a_killed_training_commits_nothing_half(hub, bucket_id, tmp_path, reference, match, skip, applied):
    run = CheckpointBucket(bucket_id)
    run.create()
    arguments = dict(bucket_id=bucket_id, seed=1, keep_local=False)
    life = Life(Machine(tmp_path / "machine"), **arguments)
    hub.fault(match, kill=life.pid, skip=skip, lose_response=applied)
    life.go_on()
    assert life.end() == "killed"
    hub.clear_faults()
    left = list(life.machine.memory.iterdir())
    chosen, _ = run.find_latest()
    assert (chosen is None) == (skip < 4)
    assert chosen is None or run.verify(chosen) == []

    elsewhere = Machine(tmp_path / "elsewhere")
    live(elsewhere, "auto", **arguments)

    check_same_end(elsewhere, reference)
    assert run.latest().name == "checkpoint-4"
    assert left and not list(elsewhere.memory.iterdir())
