"""Upstream's three stories, with the real client."""

from tests.training import digests, same_weights, tiny_trainer
from transformers_buckets import CheckpointBucket, download_latest_checkpoint_from_bucket


def test_checkpoints_and_a_root_snapshot_arrive(api, bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True).train()

    checkpoints = CheckpointBucket(bucket_id).checkpoints()
    assert [(c.name, c.state) for c in checkpoints] == [
        ("checkpoint-2", "committed"),
        ("checkpoint-4", "committed"),
        ("checkpoint-6", "committed"),
    ]
    for checkpoint in checkpoints:
        assert {"model.safetensors", "optimizer.pt", "trainer_state.json"} <= set(checkpoint.manifest.files)
    at_root = {file.path for file in api.list_bucket_tree(bucket_id, recursive=False) if file.type == "file"}
    model = {"config.json", "generation_config.json", "model.safetensors", "training_args.bin"}
    assert at_root == model | {"bucket_run.json"}


def test_a_fresh_folder_resumes_bit_identically(bucket_id, tmp_path):
    whole = tiny_trainer(tmp_path / "whole", push_to_bucket=False)
    whole.train()
    tiny_trainer(tmp_path / "first", bucket_id=bucket_id, hub_always_push=True).train()

    resumed = tiny_trainer(tmp_path / "second", push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-4")

    assert resumed.state.global_step == 6
    assert same_weights(resumed.model, whole.model)


def test_upstreams_helper_brings_the_latest(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id).train()

    path = download_latest_checkpoint_from_bucket(bucket_id, tmp_path / "elsewhere")

    assert path == str(tmp_path / "elsewhere" / "checkpoint-6")
    assert digests(path) == digests(tmp_path / "out" / "checkpoint-6")


def test_two_runs_share_a_bucket_without_seeing_each_other(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "one", bucket_id=f"{bucket_id}/expt-1", max_steps=2).train()
    tiny_trainer(tmp_path / "ten", bucket_id=f"{bucket_id}/expt-10", max_steps=4).train()

    assert CheckpointBucket(f"{bucket_id}/expt-1").latest().name == "checkpoint-2"
    assert CheckpointBucket(f"{bucket_id}/expt-10").latest().name == "checkpoint-4"
