"""`async_save`: the same checkpoints, written behind the back of the training."""

import threading

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from tests.training import digests, same_weights, tiny_dataset, tiny_trainer
from transformers_buckets import CheckpointBucket, Trainer, staged_save


def saved(folder):
    """The files of a checkpoint but those that name the run: times, folders and arguments differ."""
    return {
        path: digest
        for path, digest in digests(folder).items()
        if path not in ("training_args.bin", "trainer_state.json")
    }


def test_files_are_the_same_byte_for_byte(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "plain", push_to_bucket=False).train()
    tiny_trainer(tmp_path / "async", bucket_id=bucket_id, hub_always_push=True, async_save=True).train()

    for step in (2, 4, 6):
        name = f"checkpoint-{step}"
        assert saved(tmp_path / "async" / name) == saved(tmp_path / "plain" / name)
    assert [c.name for c in CheckpointBucket(bucket_id).checkpoints()] == [
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-6",
    ]


def test_resume_is_bit_identical(bucket_id, tmp_path):
    whole = tiny_trainer(tmp_path / "whole", push_to_bucket=False)
    whole.train()
    tiny_trainer(tmp_path / "first", bucket_id=bucket_id, hub_always_push=True, async_save=True).train()

    resumed = tiny_trainer(tmp_path / "second", push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-4")

    assert same_weights(resumed.model, whole.model)


def test_the_state_is_that_of_the_save_not_of_the_write(bucket_id, tmp_path, mocker):
    """The writer is held until training is three steps further."""
    further = threading.Event()
    write = staged_save._Staged._save

    def late(self, *args, **kwargs):
        assert further.wait(30)
        return write(self, *args, **kwargs)

    mocker.patch.object(staged_save._Staged, "_save", late)

    class Announce(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                further.set()

    tiny_trainer(tmp_path / "plain", push_to_bucket=False, save_steps=3).train()
    tiny_trainer(
        tmp_path / "async", bucket_id=bucket_id, async_save=True, save_steps=3, callbacks=[Announce()]
    ).train()

    assert saved(tmp_path / "async" / "checkpoint-3") == saved(tmp_path / "plain" / "checkpoint-3")


def test_best_model_and_early_stopping_are_kept(bucket_id, tmp_path):
    arguments = dict(
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        save_total_limit=1,
        learning_rate=0.5,
        eval_dataset=tiny_dataset(8),
    )
    plain = tiny_trainer(tmp_path / "p", push_to_bucket=False, callbacks=[EarlyStoppingCallback(2)], **arguments)
    plain.train()
    staged = tiny_trainer(
        tmp_path / "s", bucket_id=bucket_id, async_save=True, callbacks=[EarlyStoppingCallback(2)], **arguments
    )
    staged.train()

    assert same_weights(plain.model, staged.model)
    assert sorted(p.name for p in (tmp_path / "p").glob("checkpoint-*")) == sorted(
        p.name for p in (tmp_path / "s").glob("checkpoint-*")
    )


def test_a_failed_write_is_not_lost_in_the_thread(bucket_id, tmp_path, mocker):
    mocker.patch("torch.save", side_effect=OSError("No space left on device"))

    with pytest.raises(OSError, match="No space left"):
        tiny_trainer(tmp_path / "out", bucket_id=bucket_id, async_save=True, save_only_model=True).train()


def test_a_trainer_that_saves_its_own_way_saves_as_usual(bucket_id, tmp_path, messages):
    class Own(Trainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            super()._save_optimizer_and_scheduler(output_dir)
            torch.save({}, f"{output_dir}/mine.pt")

    tiny_trainer(tmp_path / "out", trainer_class=Own, bucket_id=bucket_id, async_save=True).train()

    assert "mine.pt" in CheckpointBucket(bucket_id).latest().manifest.files
    assert sum("Own has its own _save_optimizer_and_scheduler" in line for line in messages()) == 1
