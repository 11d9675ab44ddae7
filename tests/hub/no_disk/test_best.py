"""`keep_local=False`: the best model comes back through memory."""

import pytest

from tests.hub.callbacks import At
from tests.hub.checkpoints import put
from tests.hub.contents import committed
from tests.hub.no_disk.saves import ALL, BATCH, no_disk, there
from tests.training import BEST, same_weights, tiny_trainer
from transformers_buckets import BrokenCheckpointError, BucketError, BucketPushError, CheckpointBucket, Trainer
from transformers_buckets.saving import memory_folder


def test_the_final_model_is_the_best_one(bucket_id, tmp_path):
    plain = tiny_trainer(tmp_path / "plain", push_to_bucket=False, **BEST)
    plain.train()
    trainer = no_disk(tmp_path / "out", bucket_id, **BEST)
    trainer.train()

    assert trainer.state.best_global_step == 2
    assert same_weights(trainer.model, plain.model)
    assert trainer.state.best_model_checkpoint == str(tmp_path / "out" / "checkpoint-2")
    assert CheckpointBucket(bucket_id).latest().manifest.best_checkpoint == "checkpoint-2"
    assert there(tmp_path / "out") == []


def test_the_best_one_of_a_run_that_was_resumed(bucket_id, tmp_path):
    first = no_disk(tmp_path / "first", bucket_id, **{**BEST, "max_steps": 4})
    first.train()
    second = no_disk(tmp_path / "second", bucket_id, **BEST)
    second.train(resume_from_checkpoint=True)

    assert second.state.global_step == 6
    assert same_weights(second.model, first.model)
    assert there(tmp_path / "second") == []


@pytest.mark.slow
def test_the_best_one_of_a_run_that_goes_on_with_ordinary_saves(bucket_id, tmp_path):
    first = no_disk(tmp_path / "first", bucket_id, **{**BEST, "max_steps": 4})
    first.train()
    Own = type("Own", (Trainer,), {"_save": lambda self, *args, **kwargs: Trainer._save(self, *args, **kwargs)})
    second = no_disk(tmp_path / "second", bucket_id, trainer_class=Own, **BEST)
    second.train(resume_from_checkpoint=True)

    assert (tmp_path / "second" / "checkpoint-6").is_dir()
    assert same_weights(second.model, first.model)


def test_the_last_model_is_not_returned_in_place_of_the_best_one(hub, bucket_id, tmp_path):
    plain = tiny_trainer(tmp_path / "plain", push_to_bucket=False, **BEST)
    plain.train()
    hub.fault("HEAD .*/resolve/checkpoint-2/", status=403, times=None)
    with pytest.raises(BucketError, match="The best model, that of checkpoint-2, cannot be had: .*403") as raised:
        no_disk(tmp_path / "out", bucket_id, **BEST).train()
    hub.clear_faults()

    assert f"transformers-buckets pull hf://buckets/{bucket_id}/checkpoint-2" in str(raised.value)
    assert committed(bucket_id) == ALL
    assert there(tmp_path / "out") == []
    again = no_disk(tmp_path / "out", bucket_id, **BEST)
    again.train(resume_from_checkpoint="auto")
    assert same_weights(again.model, plain.model)


def test_no_room_for_the_best_one(bucket_id, tmp_path, mocker):
    mocker.patch.object(memory_folder.MemoryFolder, "room_for", side_effect=OSError("No space left on device"))
    with pytest.raises(BucketError, match="The best model, that of checkpoint-2, .*No space left on device"):
        no_disk(tmp_path / "out", bucket_id, **BEST).train()

    assert committed(bucket_id) == ALL


def test_neither_the_best_one_nor_the_last_push(hub, bucket_id, tmp_path):
    no_disk(tmp_path / "first", bucket_id, **{**BEST, "max_steps": 4}).train()
    away = At(on_train_begin=lambda _: hub.fault(f"{BATCH}|HEAD .*/resolve/checkpoint-2/", status=403, times=None))
    with pytest.raises(BucketPushError) as raised:
        no_disk(tmp_path / "out", bucket_id, callbacks=[away], **BEST).train(resume_from_checkpoint=True)

    assert raised.value.output.global_step == 6
    pushed, best = str(raised.value).split("The best model, that of checkpoint-2, cannot be had")
    assert "checkpoint-6" in pushed and "the one at hand is that of the last step" in best.lower()


@pytest.mark.parametrize("path", ["checkpoint_manifest.json", "model.safetensors"])
def test_what_is_broken_is_told_and_takes_no_memory(api, bucket_id, tmp_path, messages, path):
    no_disk(tmp_path / "first", bucket_id, **{**BEST, "max_steps": 4}).train()
    put(api, bucket_id, **{f"checkpoint-2/{path}": "something else"})

    with pytest.raises(BrokenCheckpointError, match="checkpoint-2 is broken"):
        no_disk(tmp_path / "second", bucket_id).train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")
    third = no_disk(tmp_path / "third", bucket_id, **BEST)
    with pytest.raises(BucketError, match="checkpoint-2 is broken"):
        third.train(resume_from_checkpoint=True)

    assert third.state.best_global_step == 2 and committed(bucket_id)[-1] == "checkpoint-6"
    (line,) = [line for line in messages() if "The best model, that of checkpoint-2, cannot be had" in line]
    assert "checkpoint-2 is broken" in line
