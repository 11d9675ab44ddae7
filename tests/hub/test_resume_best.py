"""The best checkpoint comes along, and rotation afterwards deletes the right folders."""

import os
import shutil
import time

import pytest
import transformers

from tests.hub.checkpoints import downloaded
from tests.hub.contents import committed
from tests.slow import quick_only
from tests.training import BEST, digests, same_weights, tiny_trainer
from transformers_buckets import BucketAccessError, CheckpointBucket


class NoSave(transformers.TrainerCallback):
    """Keeps a training from saving."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_save = False

    on_evaluate = on_step_end


@pytest.fixture
def first(bucket_id, tmp_path):
    """A machine that trained 4 steps and is gone: 2 is the best, 4 the latest."""
    trainer = tiny_trainer(tmp_path / "first", bucket_id=bucket_id, hub_always_push=True, **{**BEST, "max_steps": 4})
    trainer.train()
    assert trainer.state.best_global_step == 2
    shutil.rmtree(tmp_path / "first")
    return trainer


def test_the_final_model_is_the_best_one_though_it_was_saved_elsewhere(first, bucket_id, tmp_path):
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, **BEST)

    second.train(resume_from_checkpoint=True)

    assert second.state.global_step == 6
    assert second.state.best_model_checkpoint == str(tmp_path / "second" / "checkpoint-2")
    assert same_weights(second.model, first.model)  # that machine loaded the best at its end, too


def test_a_run_that_saves_only_what_is_best_ends_on_it_though_nothing_better_came(bucket_id, tmp_path):
    arguments = {**BEST, "save_strategy": "best"}
    first = tiny_trainer(tmp_path / "first", bucket_id=bucket_id, **{**arguments, "max_steps": 4})
    first.train()
    shutil.rmtree(tmp_path / "first")
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, **arguments)

    second.train(resume_from_checkpoint=True)

    assert committed(bucket_id) == ["checkpoint-2"]
    assert same_weights(second.model, first.model)


def test_only_the_model_of_the_best_one_travels(first, bucket_id, tmp_path, hub):
    tiny_trainer(tmp_path / "second", push_to_bucket=False, save_strategy="steps", **{**BEST, "max_steps": 5}).train(
        resume_from_checkpoint=f"hf://buckets/{bucket_id}"
    )

    best, latest = CheckpointBucket(bucket_id).checkpoints()
    here = digests(tmp_path / "second" / "checkpoint-2").keys()
    assert here == {"config.json", "generation_config.json", "model.safetensors"}
    model = sum(best.manifest.files[path].size for path in here)
    assert downloaded(hub) < (latest.manifest.size + model) * 1.1


def test_without_load_best_model_at_end_it_stays_in_the_bucket(first, bucket_id, tmp_path):
    tiny_trainer(tmp_path / "second", push_to_bucket=False, **{**BEST, "load_best_model_at_end": False}).train(
        resume_from_checkpoint=f"hf://buckets/{bucket_id}"
    )

    assert not (tmp_path / "second" / "checkpoint-2").exists()


def test_the_bucket_keeps_the_best_of_a_run_that_was_resumed_without_it(first, bucket_id, tmp_path):
    second = tiny_trainer(
        tmp_path / "second",
        bucket_id=bucket_id,
        bucket_total_limit=2,
        hub_always_push=True,
        **{**BEST, "load_best_model_at_end": False, "max_steps": 8},
    )
    second.train(resume_from_checkpoint=True)
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-8"]
    assert CheckpointBucket(bucket_id).latest().manifest.best_checkpoint == "checkpoint-2"

    third = tiny_trainer(tmp_path / "third", bucket_id=bucket_id, **{**BEST, "max_steps": 10})
    third.train(resume_from_checkpoint=True)
    assert same_weights(third.model, first.model)


def test_another_checkpoint_at_the_old_path_is_not_taken_for_the_best(first, bucket_id, tmp_path):
    tiny_trainer(tmp_path / "first", push_to_bucket=False, max_steps=2, seed=1, learning_rate=0.1).train()
    # Were another one saved, transformers would look for the best beside it.
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, callbacks=[NoSave()], **BEST)

    second.train(resume_from_checkpoint=True)

    assert same_weights(second.model, first.model)


def test_a_best_one_that_is_gone_is_mentioned_and_training_goes_on(first, bucket_id, tmp_path, messages):
    CheckpointBucket(bucket_id).delete(["checkpoint-2"])
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, **BEST)

    second.train(resume_from_checkpoint=True)

    assert second.state.global_step == 6
    assert [line for line in messages() if "The best checkpoint cannot be had" in line and "checkpoint-2" in line]


def test_a_best_one_that_cannot_be_read_now_stops_the_start(first, bucket_id, tmp_path, hub):
    """Days later it would be too late to notice."""
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, **BEST)
    hub.fault("HEAD .*/resolve/checkpoint-2/", status=403, times=None)

    with pytest.raises(BucketAccessError):
        second.train(resume_from_checkpoint=True)
    assert second.state.global_step == 0


@pytest.mark.parametrize(("limit", "left"), quick_only([(1, [2]), (2, [2, 8]), (3, [2, 6, 8])], (2, [2, 8])))
def test_rotation_keeps_the_best_and_the_newest(first, bucket_id, tmp_path, limit, left):
    arguments = {**BEST, "max_steps": 8, "save_total_limit": limit}
    second = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, **arguments)

    second.train(resume_from_checkpoint=True)

    there = sorted(name for name in os.listdir(tmp_path / "second") if name.startswith("checkpoint-"))
    assert there == [f"checkpoint-{step}" for step in left]
    assert same_weights(second.model, first.model)


@pytest.mark.slow
def test_rotation_deletes_an_abandoned_branch_on_local_disk_first(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True).train()
    for step in (2, 4, 6):
        an_hour_ago = time.time() - 3600 + step
        os.utime(tmp_path / "out" / f"checkpoint-{step}", (an_hour_ago, an_hour_ago))

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=3, save_steps=1, save_total_limit=2).train(
        resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2"
    )

    there = {name for name in os.listdir(tmp_path / "out") if name.startswith("checkpoint-")}
    assert there == {"checkpoint-2", "checkpoint-3"}
    assert CheckpointBucket(bucket_id).latest().name == "checkpoint-3"
