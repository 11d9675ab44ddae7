"""`keep_local=False`: the same checkpoints, and no disk sees them."""

import gc

import peft
import pytest
import torch

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, committed
from tests.hub.no_disk.saves import ALL, assert_same, no_disk, there
from tests.training import same_weights, tiny_arguments, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import CheckpointBucket, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers_buckets.saving import memory_folder


def test_nothing_is_written_and_all_is_committed_as_in_an_ordinary_save(hub, bucket_id, tmp_path):
    seen = []
    look = At(on_step_end=lambda _: seen.append(there(tmp_path / "out")))
    tiny_trainer(tmp_path / "plain", push_to_bucket=False).train()
    no_disk(tmp_path / "out", bucket_id, callbacks=[look]).train()

    assert there(tmp_path / "out") == []
    assert {path for paths in seen for path in paths if not path.endswith(".lock")} <= {"_bucket", "_bucket/outbox"}
    assert committed(bucket_id) == ALL
    assert [checkpoint.problems for checkpoint in CheckpointBucket(bucket_id).checkpoints()] == [()] * 3
    for name in ALL:
        assert_same(bucket_id, name, tmp_path / "plain" / name, tmp_path / "pulled")
    assert {"model.safetensors", "config.json", "bucket_run.json"} <= bucket_files(bucket_id)


def test_an_empty_machine_ends_as_if_never_interrupted(bucket_id, tmp_path, memory):
    whole = tiny_trainer(tmp_path / "whole", push_to_bucket=False)
    whole.train()
    no_disk(tmp_path / "first", bucket_id).train()
    seen = {}
    look = At(
        on_train_begin=lambda _: seen.update(before=there(memory)),
        on_step_end=lambda _: seen.setdefault("after", there(memory)),
    )

    resumed = no_disk(tmp_path / "second", bucket_id, callbacks=[look])
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-4")

    assert same_weights(resumed.model, whole.model)
    assert there(tmp_path / "second") == []
    assert any(path.endswith("checkpoint-4/optimizer.pt") for path in seen["before"])
    assert not any("checkpoint-4" in path for path in seen["after"])


@pytest.mark.slow
def test_a_finished_run_is_not_trained_on_and_nothing_stays(bucket_id, tmp_path):
    first = no_disk(tmp_path / "first", bucket_id)
    first.train()
    again = no_disk(tmp_path / "second", bucket_id)
    again.train(resume_from_checkpoint="auto")

    assert same_weights(again.model, first.model)
    assert there(tmp_path / "second") == []


@pytest.mark.slow
def test_one_trainer_trains_twice_and_keeps_no_memory(bucket_id, tmp_path):
    def copies():
        return {
            id(thing)
            for thing in gc.get_objects()
            if type(thing) is torch.Tensor and thing.dtype == torch.uint8 and thing.numel() >= 4096
        }

    before, during = copies(), set()
    look = At(on_step_end=lambda state: during.update(copies() - before) if state.global_step == 5 else None)
    trainer = no_disk(tmp_path / "out", bucket_id, callbacks=[look])
    trainer.train()
    assert during and not copies() & during
    trainer.args.max_steps = 8
    trainer.train(resume_from_checkpoint="auto")

    assert committed(bucket_id) == [*ALL, "checkpoint-8"]
    assert there(tmp_path / "out") == []


@pytest.mark.slow
def test_memory_that_is_short_is_told_and_the_disk_given_back(bucket_id, tmp_path, monkeypatch, messages):
    no_disk(tmp_path / "first", bucket_id).train()
    monkeypatch.setattr(memory_folder, "_SPARE", 2**60)

    no_disk(tmp_path / "second", bucket_id, max_steps=8).train(resume_from_checkpoint=True)

    assert any("has no room for" in line for line in messages())
    assert there(tmp_path / "second") == []
    assert committed(bucket_id)[-1] == "checkpoint-8"


def lora():
    return peft.get_peft_model(tiny_model(), peft.LoraConfig(r=64, target_modules=["q_proj"], task_type="CAUSAL_LM"))


def test_an_adapter(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "plain", push_to_bucket=False, model=lora()).train()
    no_disk(tmp_path / "out", bucket_id, model=lora()).train()

    assert_same(bucket_id, "checkpoint-6", tmp_path / "plain" / "checkpoint-6", tmp_path / "pulled")
    assert there(tmp_path / "out") == []


def test_seq2seq(bucket_id, tmp_path):
    arguments = vars(tiny_arguments(tmp_path / "out", bucket_id=bucket_id))
    known = ("max_steps", "save_steps", "per_device_train_batch_size", "push_to_bucket", "bucket_id", "use_cpu")
    Seq2SeqTrainer(
        model=tiny_model(),
        args=Seq2SeqTrainingArguments(
            str(tmp_path / "out"), keep_local=False, report_to=[], **{name: arguments[name] for name in known}
        ),
        train_dataset=tiny_dataset(),
    ).train()

    assert CheckpointBucket(bucket_id).latest().name == "checkpoint-6"
    assert there(tmp_path / "out") == []
