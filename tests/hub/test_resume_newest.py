"""`True` and `"auto"`: the newest of local disk and bucket."""

import os
import shutil
import time

import pytest

from tests.hub.checkpoints import downloaded, push_checkpoint, put, save_locally, write_checkpoint
from transformers_buckets import CheckpointBucket, CheckpointNotFoundError
from transformers_buckets.bucket.run_file import Writer
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


def touch(folder, seconds_ago: float) -> None:
    """Let a checkpoint look as if it was saved at another time."""
    then = time.time() - seconds_ago
    for file in [*folder.iterdir(), folder]:
        os.utime(file, (then, then))


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
    save_locally(out / "checkpoint-6", after=run)

    assert choice(run, out) == str(out / "checkpoint-6")
    assert [line for line in messages() if "was saved after" in line and "resuming from local disk" in line]


def test_a_model_alone_says_nothing_about_what_came_last(run, out):
    save_locally(out / "checkpoint-8", after=run, claim=0)
    save_locally(out / "checkpoint-6", after=run)
    run.pull("checkpoint-2", out, only_model=True)

    assert newest(None, str(out)).local == str(out / "checkpoint-6")


def test_a_step_that_was_saved_again_after_its_commit_wins(run, out):
    save_locally(out / "checkpoint-4", after=run, seed=1)

    assert choice(run, out) == str(out / "checkpoint-4")


@pytest.mark.parametrize("clock", [-HOUR, 0, HOUR])
def test_what_was_saved_before_somebody_else_took_the_run_over_loses(run, out, clock):
    touch(save_locally(out / "checkpoint-6", after=run, claim=-1), seconds_ago=clock)

    assert choice(run, out) == "checkpoint-4"


@pytest.mark.parametrize("clock", [-HOUR, 0, HOUR])
def test_what_nothing_says_it_is_of_this_run_loses_and_is_mentioned(run, out, messages, clock):
    touch(write_checkpoint(out / "checkpoint-6"), seconds_ago=clock)

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
    touch(out / "checkpoint-2", seconds_ago=clock)

    assert choice(run, out) == "checkpoint-4"


def test_a_checkpoint_that_was_pulled_and_then_deleted_from_the_bucket_does_not_come_back(run, out):
    run.pull("checkpoint-2", out)
    run.delete(["checkpoint-2"])

    assert choice(run, out) == "checkpoint-4"


def test_a_corrupt_local_copy_of_the_latest_is_not_taken_for_a_newer_save(run, out):
    (run.pull("checkpoint-4", out) / "optimizer.pt").write_bytes(b"corrupt")

    assert choice(run, out) == "checkpoint-4"


def test_what_a_crash_left_half_written_is_passed_over(run, out, messages):
    (save_locally(out / "checkpoint-6", after=run) / "trainer_state.json").unlink()
    (save_locally(out / "checkpoint-8", after=run) / "checkpoint-is-incomplete.txt").touch()

    assert choice(run, out) == "checkpoint-4"
    assert choice(None, out) is None
    for step, why in ((6, "trainer_state.json is missing"), (8, "it was not written to its end")):
        assert f"{out}/checkpoint-{step} is passed over: {why}." in messages()


@pytest.mark.parametrize("torn", ["trainer_state.json", "model.safetensors"])
def test_what_plain_transformers_left_torn_is_passed_over(out, torn, messages):
    write_checkpoint(out / "checkpoint-4")
    file = write_checkpoint(out / "checkpoint-6") / torn
    file.write_bytes(file.read_bytes()[:-20])

    assert choice(None, out) == str(out / "checkpoint-4")
    assert messages() == [f"{out}/checkpoint-6 is passed over: {torn} is torn."]


def test_a_rank_that_did_not_come_to_write_is_noticed(out, messages):
    folder = write_checkpoint(out / "checkpoint-6")
    (folder / "rng_state.pth").rename(folder / "rng_state_0.pth")

    assert choice(None, out) is None
    assert messages() == [f"{out}/checkpoint-6 is passed over: rng_state_1.pth is missing."]


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


def test_nothing_starts_from_scratch_over_checkpoints_that_cannot_be_used(api, bucket_id, out):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})

    with pytest.raises(CheckpointNotFoundError, match="checkpoint-8 is unmarked.*adopt hf://.*/checkpoint-8"):
        choice(CheckpointBucket(bucket_id), out)


def test_nothing_starts_from_scratch_over_checkpoints_of_a_later_format(run, api, bucket_id, out):
    for step in (2, 4):
        put(api, bucket_id, **{f"checkpoint-{step}/checkpoint_manifest.json": b'{"format": 99}'})

    with pytest.raises(CheckpointNotFoundError, match="format 99 .*upgrade transformers_buckets"):
        choice(run, out)


def test_a_first_push_that_was_killed_is_no_reason_not_to_start(api, bucket_id, out):
    run = CheckpointBucket(bucket_id)
    run.create()
    run.root.claim(Writer.here())
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"whose manifest never came"})

    assert choice(CheckpointBucket(bucket_id), out) is None
