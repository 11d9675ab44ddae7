"""Metrics decide: `compute_metrics`, `load_best_model_at_end`, `save_strategy="best"`."""

import pytest

from tests.ecosystem import tiny
from tests.hub.contents import committed
from tests.training import same_weights, tiny_arguments, tiny_dataset
from transformers_buckets import CheckpointBucket, Trainer


# What the metric says at each evaluation; the second one is the best.
SCORES = (0.1, 0.9, 0.3, 0.2)


def trainer(output_dir, scores=SCORES, **arguments):
    left = iter(scores)
    defaults = dict(max_steps=4, save_steps=1, eval_strategy="steps", eval_steps=1, metric_for_best_model="score")
    return Trainer(
        model=tiny.causal_lm(),
        args=tiny_arguments(output_dir, **{**defaults, "hub_always_push": True, **arguments}),
        train_dataset=tiny_dataset(),
        eval_dataset=tiny_dataset(4),
        compute_metrics=lambda prediction: {"score": next(left)},
    )


def test_the_best_checkpoint_is_named_kept_and_loaded(bucket_id, tmp_path):
    run = trainer(tmp_path / "out", bucket_id=bucket_id, load_best_model_at_end=True, bucket_total_limit=1)
    run.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert CheckpointBucket(bucket_id).latest().manifest.best_checkpoint == "checkpoint-2"
    pulled = CheckpointBucket(bucket_id).pull("checkpoint-2", tmp_path / "pulled")
    assert same_weights(run.model, type(run.model).from_pretrained(pulled))


def test_a_resumed_training_still_loads_the_best_of_before(bucket_id, tmp_path):
    whole = trainer(tmp_path / "whole", bucket_id=bucket_id, load_best_model_at_end=True)
    whole.train()

    resumed = trainer(tmp_path / "resumed", SCORES[3:], bucket_id=bucket_id, load_best_model_at_end=True)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-3")

    assert resumed.state.best_model_checkpoint == str(tmp_path / "resumed" / "checkpoint-2")
    assert same_weights(resumed.model, whole.model)


@pytest.mark.parametrize("load_best_model_at_end", [False, True])
def test_only_better_ones_are_saved_and_all_of_them_land(bucket_id, tmp_path, load_best_model_at_end):
    run = trainer(
        tmp_path / "out",
        (0.1, 0.3, 0.2, 0.5),
        bucket_id=bucket_id,
        save_strategy="best",
        load_best_model_at_end=load_best_model_at_end,
    )
    run.train()

    assert committed(bucket_id) == ["checkpoint-1", "checkpoint-2", "checkpoint-4"]
    assert CheckpointBucket(bucket_id).latest().manifest.best_checkpoint == "checkpoint-4"
