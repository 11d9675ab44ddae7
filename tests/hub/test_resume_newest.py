"""`True` and `"auto"`: the newest of local disk and bucket."""

import os
import shutil
import time

import pytest

from tests.hub.checkpoints import downloaded, push_checkpoint, put, write_checkpoint
from transformers_buckets import CheckpointBucket
from transformers_buckets.resume import newest, pull


HOUR = 3600


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(bucket_id, tmp_path):
    """A run whose checkpoints 2 and 4 were committed by another machine."""
    for step in (2, 4):
        push_checkpoint(bucket_id, tmp_path / "elsewhere" / f"checkpoint-{step}")
    return CheckpointBucket(bucket_id)


def choice(run, out) -> str | None:
    """The checkpoint that is chosen: its name, or its path if it is one of local disk."""
    source = newest(run, str(out))
    return source and (source.local or source.checkpoint.name)


def saved(folder, seconds_ago: float):
    """Let a checkpoint look as if it was saved at another time."""
    then = time.time() - seconds_ago
    os.utime(folder / "trainer_state.json", (then, then))
    return folder


def test_nothing_anywhere_is_nothing(api, bucket_id, out):
    api.create_bucket(bucket_id)

    assert choice(CheckpointBucket(bucket_id), out) is None
    assert choice(None, out) is None


def test_an_empty_disk_takes_the_latest_of_the_bucket(run, out):
    assert choice(run, out) == "checkpoint-4"


def test_an_empty_bucket_takes_the_last_of_local_disk(api, bucket_id, out):
    api.create_bucket(bucket_id)
    for step in (2, 10):
        write_checkpoint(out / f"checkpoint-{step}")

    assert choice(CheckpointBucket(bucket_id), out) == str(out / "checkpoint-10")


def test_what_was_saved_after_the_last_commit_and_never_pushed_wins(run, out, messages):
    write_checkpoint(out / "checkpoint-6")

    assert choice(run, out) == str(out / "checkpoint-6")
    assert [line for line in messages() if "was saved after" in line and "resuming from local disk" in line]


def test_a_step_that_was_saved_again_after_its_commit_wins(run, out):
    write_checkpoint(out / "checkpoint-4", seed=1)

    assert choice(run, out) == str(out / "checkpoint-4")


def test_an_abandoned_branch_on_local_disk_loses_and_is_mentioned(run, out, messages):
    saved(write_checkpoint(out / "checkpoint-6"), seconds_ago=HOUR)

    assert choice(run, out) == "checkpoint-4"
    assert [line for line in messages() if f"{out}/checkpoint-6 has a higher step" in line and "passed over" in line]


def test_the_same_checkpoint_in_both_places_travels_no_more(run, out, tmp_path, hub):
    shutil.copytree(tmp_path / "elsewhere" / "checkpoint-4", out / "checkpoint-4")
    source = newest(run, str(out))
    hub.clear_requests()

    assert source.checkpoint.name == "checkpoint-4"
    pull(source, str(out), None, with_best=False)
    assert downloaded(hub) == 0


@pytest.mark.parametrize("clock", [-HOUR, 0, HOUR])
def test_a_copy_of_an_older_commit_loses_whatever_the_clock_of_this_machine_says(run, out, tmp_path, clock):
    shutil.copytree(tmp_path / "elsewhere" / "checkpoint-2", out / "checkpoint-2")
    saved(out / "checkpoint-2", seconds_ago=clock)

    assert choice(run, out) == "checkpoint-4"


def test_a_checkpoint_that_was_pulled_and_then_deleted_from_the_bucket_does_not_come_back(run, out):
    run.pull("checkpoint-2", out)
    run.delete(["checkpoint-2"])

    assert choice(run, out) == "checkpoint-4"


def test_a_corrupt_local_copy_of_the_latest_is_not_taken_for_a_newer_save(run, out):
    (run.pull("checkpoint-4", out) / "optimizer.pt").write_bytes(b"corrupt")

    assert choice(run, out) == "checkpoint-4"


def test_what_a_crash_left_half_written_is_passed_over(run, out, messages):
    (write_checkpoint(out / "checkpoint-6") / "trainer_state.json").unlink()
    (write_checkpoint(out / "checkpoint-8") / "checkpoint-is-incomplete.txt").touch()

    assert choice(run, out) == "checkpoint-4"
    assert choice(None, out) is None
    assert {f"{out}/checkpoint-{step} was not written to its end: passed over." for step in (6, 8)} <= set(messages())


def test_steps_are_compared_as_numbers(out):
    for step in (9, 10):
        write_checkpoint(out / f"checkpoint-{step}")
    (out / "checkpoint-best").mkdir()

    assert choice(None, out) == str(out / "checkpoint-10")


def test_one_warning_names_all_that_is_passed_over_and_why(run, api, bucket_id, out, messages):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    assert choice(run, out) == "checkpoint-2"
    assert messages() == [
        f"The latest in hf://buckets/{bucket_id} is checkpoint-2. Passed over: checkpoint-8 is unmarked (it has no "
        "manifest); checkpoint-4 is broken (optimizer.pt is missing)."
    ]


def test_a_fresh_start_beside_checkpoints_that_cannot_be_used_is_not_silent(api, bucket_id, out, messages):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})

    assert choice(CheckpointBucket(bucket_id), out) is None
    assert [line for line in messages() if "none committed" in line and "checkpoint-8 is unmarked" in line]
