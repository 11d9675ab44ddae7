"""Latest: the checkpoint committed last, if it is whole."""

import pytest

from tests.hub.checkpoints import SIZES, push_checkpoint, put
from transformers_buckets import (
    BrokenCheckpointError,
    BucketAccessError,
    CheckpointBucket,
    CheckpointNotFoundError,
    download_latest_checkpoint_from_bucket,
)


@pytest.fixture
def run(bucket_id, tmp_path):
    """A run with checkpoint-2 and then checkpoint-4."""
    for step in (2, 4):
        push_checkpoint(bucket_id, tmp_path / "disk" / f"checkpoint-{step}")
    return CheckpointBucket(bucket_id)


def test_it_is_the_one_committed_last(run):
    assert run.latest().name == "checkpoint-4"


def test_a_higher_step_that_was_committed_earlier_does_not_win_and_is_mentioned(run, bucket_id, tmp_path, messages):
    push_checkpoint(bucket_id, tmp_path / "branch" / "checkpoint-3")

    assert download_latest_checkpoint_from_bucket(bucket_id, tmp_path / "here").endswith("checkpoint-3")
    assert [line for line in messages() if "checkpoint-4 has a higher step but was committed earlier" in line]


def test_a_step_that_is_committed_again_is_the_latest_again(run, bucket_id, tmp_path):
    push_checkpoint(bucket_id, tmp_path / "again" / "checkpoint-2", seed=1)

    assert run.latest().name == "checkpoint-2"


def test_an_unmarked_checkpoint_is_passed_over(run, api, bucket_id):
    put(api, bucket_id, **{"checkpoint-6/model.safetensors": b"by hand", "checkpoint-6/trainer_state.json": b"{}"})

    chosen, passed_over = run.find_latest()

    assert chosen.name == "checkpoint-4"
    assert passed_over == ["checkpoint-6 is unmarked (it has no manifest)"]


TORN = {
    "optimizer.pt is missing": lambda api, bucket_id, path: api.batch_bucket_files(bucket_id, delete=[path]),
    f"optimizer.pt has 5 bytes instead of {SIZES['optimizer.pt']}": lambda api, bucket_id, path: put(
        api, bucket_id, **{path: b"short"}
    ),
    "optimizer.pt has another content (wrong hash)": lambda api, bucket_id, path: put(
        api, bucket_id, **{path: bytes(SIZES["optimizer.pt"])}
    ),
}


@pytest.mark.parametrize("why", TORN)
def test_a_broken_checkpoint_is_passed_over_with_the_reason(run, api, bucket_id, why):
    TORN[why](api, bucket_id, "checkpoint-4/optimizer.pt")

    chosen, passed_over = run.find_latest()

    assert chosen.name == "checkpoint-2"
    assert passed_over == [f"checkpoint-4 is broken ({why})"]


def test_a_manifest_of_another_step_makes_a_broken_checkpoint(run, api, bucket_id, tmp_path):
    api.download_bucket_files(bucket_id, [("checkpoint-2/checkpoint_manifest.json", tmp_path / "manifest")])
    put(api, bucket_id, **{"checkpoint-4/checkpoint_manifest.json": (tmp_path / "manifest").read_bytes()})

    chosen, passed_over = run.find_latest()

    assert chosen.name == "checkpoint-2"
    assert passed_over == [
        "checkpoint-4 is broken (the manifest is that of step 2, model.safetensors has another content (wrong hash), "
        "optimizer.pt has another content (wrong hash))"
    ]


def reads_of_the_run_file(run, hub) -> int:
    """How many requests for content come before those for manifests."""
    hub.clear_requests()
    run.run_file()
    return len(hub.requests("GET /xorbs/"))


def test_a_run_file_that_is_garbled_costs_time_and_nothing_else(run, bucket_id, api):
    put(api, bucket_id, **{"bucket_run.json": b"garbled"})

    assert run.find_latest() == (run.find("checkpoint-4"), [])
    with pytest.raises(BrokenCheckpointError, match="bucket_run.json is not readable.*delete it"):
        run.run_file()


def test_a_manifest_that_is_garbled_on_the_way_is_read_again(run, hub):
    hub.fault("GET /xorbs/", corrupt=True, skip=reads_of_the_run_file(run, hub))

    assert run.find_latest() == (run.find("checkpoint-4"), [])


def test_nothing_but_rubbish_is_an_error_that_names_it(api, bucket_id):
    put(api, bucket_id, **{"checkpoint-6/model.safetensors": b"", "checkpoint-7/checkpoint_manifest.json": b"[]"})

    with pytest.raises(CheckpointNotFoundError) as error:
        CheckpointBucket(bucket_id).latest()
    assert "checkpoint-6 is unmarked" in str(error.value)
    assert "checkpoint-7 is broken (the manifest is not readable)" in str(error.value)


def test_a_run_that_is_elsewhere_in_the_bucket_is_pointed_at(bucket_id, tmp_path):
    push_checkpoint(f"{bucket_id}/expt-1", tmp_path / "checkpoint-2")

    for address in (bucket_id, f"{bucket_id}/expt-2", f"{bucket_id}/expt"):
        with pytest.raises(CheckpointNotFoundError, match="it is empty there, but the bucket has the folders expt-1"):
            CheckpointBucket(address).latest()


def test_an_empty_bucket_gives_no_path(api, bucket_id, tmp_path):
    api.create_bucket(bucket_id)

    assert download_latest_checkpoint_from_bucket(bucket_id, tmp_path) is None


def test_a_bucket_that_does_not_exist_is_an_error(bucket_id):
    with pytest.raises(BucketAccessError, match="there is no such bucket"):
        CheckpointBucket(bucket_id).latest()


def test_a_name_alone_means_the_bucket_of_the_user(run, bucket_id):
    assert CheckpointBucket(bucket_id.removeprefix("demo/")).latest().name == "checkpoint-4"


def test_finding_the_latest_does_not_grow_with_the_run(run, hub, bucket_id, tmp_path):
    def requests() -> int:
        hub.clear_requests()
        run.latest()
        return len(hub.requests())

    before = requests()
    for step in (6, 8, 10):
        push_checkpoint(bucket_id, tmp_path / "more" / f"checkpoint-{step}")
    assert requests() == before


@pytest.mark.parametrize("name", ["..", "runs", "checkpoint-", "checkpoint-4/..", "checkpoint-x"])
def test_only_names_of_checkpoints_are_looked_for(run, tmp_path, name):
    with pytest.raises(CheckpointNotFoundError, match="is not the name of a checkpoint"):
        run.pull(name, tmp_path / "here")
