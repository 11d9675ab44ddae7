"""What `train(resume_from_checkpoint=...)` takes, and what it says."""

import os

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from tests.hub.checkpoints import push_checkpoint, put
from tests.training import digests, same_weights, tiny_trainer
from transformers_buckets import (
    BrokenCheckpointError,
    BucketAccessError,
    BucketAddressError,
    CheckpointBucket,
    CheckpointNotFoundError,
)
from transformers_buckets.resume import at_address


ENDPOINT = os.environ["HF_ENDPOINT"]


@pytest.fixture(scope="module")
def trained(session_hub, tmp_path_factory):
    """A finished run under a prefix of a bucket: address, folder, trainer."""
    bucket_id = f"demo/addresses-{os.urandom(4).hex()}"
    folder = tmp_path_factory.mktemp("trained") / "out"
    trainer = tiny_trainer(folder, bucket_id=f"{bucket_id}/expt", hub_always_push=True)
    trainer.train()
    return bucket_id, folder, trainer


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("hf://buckets/{id}/expt", "checkpoint-6"),
        ("hf://buckets/{id}/expt/", "checkpoint-6"),
        ("hf://buckets/{id}/expt/checkpoint-4", "checkpoint-4"),
        (ENDPOINT + "/buckets/{id}/expt", "checkpoint-6"),
        (ENDPOINT + "/buckets/{id}/tree/expt/checkpoint-2", "checkpoint-2"),
        (ENDPOINT + "/buckets/{id}/tree/expt%2Fcheckpoint-2?sort=name#top", "checkpoint-2"),
    ],
    ids=lambda text: text.replace(ENDPOINT, "hub"),
)
def test_an_address_names_a_checkpoint_or_means_the_latest(trained, form, name):
    source = at_address(form.format(id=trained[0]))

    assert (str(source.address), source.checkpoint.name) == (f"hf://buckets/{trained[0]}/expt", name)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("hf://buckets/{id}/expt/checkpoint-5", CheckpointNotFoundError, "checkpoint-2, checkpoint-4, checkpoint-6"),
        ("hf://buckets/{id}/typo", CheckpointNotFoundError, "but the bucket has the folders expt"),
        ("hf://buckets/{id}/typo/checkpoint-4", CheckpointNotFoundError, "but the bucket has the folders expt"),
        ("hf://buckets/{id}-typo", BucketAccessError, "there is no such bucket"),
        ("hf://buckets/demo", BucketAddressError, "names no bucket"),
        ("hf://models/demo/x", BucketAddressError, "not the address of a bucket"),
        ("https://example.com/buckets/demo/x", BucketAddressError, "not on the Hub in use"),
    ],
)
def test_a_wrong_address_is_an_error_that_says_what_there_is(trained, tmp_path, address, error, message):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)

    with pytest.raises(error, match=message):
        trainer.train(resume_from_checkpoint=address.format(id=trained[0]))
    assert trainer.state.global_step == 0


def test_an_unmarked_checkpoint_is_used_if_it_is_named(trained, api, tmp_path, messages):
    bucket_id, folder, _ = trained
    files = {
        f"copy/checkpoint-2/{path}": (folder / "checkpoint-2" / path).read_bytes()
        for path in digests(folder / "checkpoint-2")
    }
    put(api, bucket_id, **files)
    resumed = tiny_trainer(tmp_path / "out", push_to_bucket=False)

    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/copy/checkpoint-2")

    assert same_weights(resumed.model, trained[2].model)
    assert [line for line in messages() if "copy/checkpoint-2 has no manifest" in line and "adopt" in line]


def test_a_broken_checkpoint_is_an_error_even_if_it_is_named(api, bucket_id, tmp_path):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2")
    api.batch_bucket_files(bucket_id, delete=["checkpoint-2/optimizer.pt"])

    with pytest.raises(BrokenCheckpointError, match="checkpoint-2 is broken: optimizer.pt is missing"):
        tiny_trainer(tmp_path / "out", push_to_bucket=False).train(f"hf://buckets/{bucket_id}/checkpoint-2")


def test_auto_starts_and_goes_on_and_true_only_goes_on(bucket_id, tmp_path):
    with pytest.raises(ValueError, match="No valid checkpoint found in output directory .* nor in the bucket"):
        tiny_trainer(tmp_path / "a", bucket_id=bucket_id).train(resume_from_checkpoint=True)
    tiny_trainer(tmp_path / "b", bucket_id=bucket_id, max_steps=2).train(resume_from_checkpoint="auto")

    for steps, anything in ((4, "auto"), (6, True)):
        trainer = tiny_trainer(tmp_path / f"{steps}", bucket_id=bucket_id, max_steps=steps)
        trainer.train(resume_from_checkpoint=anything)
        assert [log["step"] for log in trainer.state.log_history if "loss" in log] == list(range(1, steps + 1))
        assert f"checkpoint-{steps - 2}" in os.listdir(tmp_path / f"{steps}")


def test_auto_needs_no_bucket(tmp_path, hub):
    for steps in (2, 4):
        trainer = tiny_trainer(tmp_path, push_to_bucket=False, max_steps=steps)
        trainer.train(resume_from_checkpoint="auto")
        assert [log["step"] for log in trainer.state.log_history if "loss" in log] == list(range(1, steps + 1))
    assert not hub.requests()


@pytest.mark.parametrize("nothing", [None, False])
def test_from_scratch_is_from_scratch_but_the_checkpoints_are_mentioned_once(bucket_id, tmp_path, messages, nothing):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2")
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=1, save_strategy="no")

    trainer.train(resume_from_checkpoint=nothing)

    assert [log["step"] for log in trainer.state.log_history if "loss" in log] == [1]
    lines = [line for line in messages() if "starts from scratch" in line]
    assert len(lines) == 1 and f"resume_from_checkpoint='hf://buckets/{bucket_id}'" in lines[0]


def test_local_paths_are_used_as_ever(trained, hub, tmp_path):
    resumed = tiny_trainer(tmp_path / "out", push_to_bucket=False)

    resumed.train(resume_from_checkpoint=str(trained[1] / "checkpoint-4"))

    assert same_weights(resumed.model, trained[2].model)
    assert not hub.requests()


def test_another_run_goes_on_from_a_checkpoint_and_leaves_that_run_alone(trained, bucket_id, tmp_path):
    before = [c.manifest.push_id for c in CheckpointBucket(f"{trained[0]}/expt").checkpoints()]
    fork = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8)

    fork.train(resume_from_checkpoint=f"hf://buckets/{trained[0]}/expt/checkpoint-4")

    assert CheckpointBucket(bucket_id).latest().name == "checkpoint-8"
    assert [c.manifest.push_id for c in CheckpointBucket(f"{trained[0]}/expt").checkpoints()] == before


def test_the_download_shows_its_progress(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars even where standard error is no terminal
    trainer = tiny_trainer(tmp_path / "out", push_to_bucket=False)
    enable_progress_bars()  # the arguments of these tests switch them off
    try:
        trainer.train(resume_from_checkpoint=f"hf://buckets/{trained[0]}/expt")
    finally:
        disable_progress_bars()

    assert "Downloading bucket files" in capfd.readouterr().err
