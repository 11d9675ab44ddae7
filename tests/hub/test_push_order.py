"""Which checkpoints land while the Hub is slower than the training."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Timer

import pytest
import torch

from tests.hub.callbacks import At, Saved
from tests.hub.checkpoints import SIZES, write_checkpoint
from tests.hub.contents import bucket_files, committed
from tests.slow import quick_only
from tests.training import digests, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import CheckpointBucket, Trainer
from transformers_buckets.bucket.manifest import MANIFEST_NAME
from transformers_buckets.saving.lane import Job


BATCH = "POST .*/batch"
ALL_FIVE = [f"checkpoint-{step}" for step in range(1, 6)]


@pytest.fixture
def stalled(hub):
    """A Hub that answers no batch from the first save on until the training loop is through."""
    rescue = Timer(30, hub.release)  # a training that breaks off never gets to its end
    rescue.start()
    yield At(on_train_begin=lambda _: hub.hold(BATCH), on_train_end=lambda _: hub.release())
    rescue.cancel()


def assert_all_as_saved(bucket_id: str, saved: Saved, folder) -> None:
    bucket = CheckpointBucket(bucket_id)
    for name in committed(bucket_id):
        assert digests(bucket.pull(name, folder)) == saved.digests[name]


def test_all_land_as_long_as_few_wait(bucket_id, tmp_path, stalled, messages):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[stalled])
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert not [line for line in messages() if line.startswith("Skipped")]


def test_the_oldest_of_too_many_is_skipped_and_told_but_never_the_best_nor_the_last(
    bucket_id, tmp_path, stalled, messages
):
    saved = Saved()
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        max_steps=8,
        save_steps=1,
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="rank",
        callbacks=[stalled, saved],
    )
    trainer.compute_metrics = lambda _: {"rank": -abs(trainer.state.global_step - 2)}  # the second one is the best
    trainer.train()

    landed = committed(bucket_id)
    skipped = [line.split(":")[0].removeprefix("Skipped ") for line in messages() if line.startswith("Skipped")]
    assert landed[-1] == "checkpoint-8"
    assert "checkpoint-2" in landed
    assert sorted(landed + skipped) == [f"checkpoint-{step}" for step in range(1, 9)]
    assert len(landed) == 1 + 3  # the one that was under way, and those that waited
    assert_all_as_saved(bucket_id, saved, tmp_path / "pulled")
    assert len([line for line in messages() if line.startswith("Committed")]) == len(landed)


@pytest.mark.parametrize("save_total_limit", quick_only([1, 2], 1))
def test_with_hub_always_push_all_land_in_order_whatever_rotation_does(bucket_id, tmp_path, stalled, save_total_limit):
    saved = Saved()
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        max_steps=5,
        save_steps=1,
        hub_always_push=True,
        save_total_limit=save_total_limit,
        callbacks=[stalled, saved],
    )
    trainer.train()

    assert committed(bucket_id) == ALL_FIVE
    assert_all_as_saved(bucket_id, saved, tmp_path / "pulled")
    left = {path.name for path in (tmp_path / "out").glob("checkpoint-*")}
    assert left == set(ALL_FIVE[-save_total_limit:])
    assert not (tmp_path / "out" / "_bucket" / "outbox").exists()


def test_the_last_lands_although_transformers_deletes_it_for_the_best(bucket_id, tmp_path, stalled):
    saved = Saved()
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        eval_dataset=tiny_dataset(8),
        save_total_limit=1,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,  # so the first one is the best
        callbacks=[stalled, saved],
    )
    trainer.train()

    assert not (tmp_path / "out" / "checkpoint-6").exists()
    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert_all_as_saved(bucket_id, saved, tmp_path / "pulled")


def test_deleting_checkpoints_by_hand_loses_nothing(bucket_id, tmp_path, stalled):
    saved = Saved()

    def delete(state):
        shutil.rmtree(tmp_path / "out" / f"checkpoint-{state.global_step}")

    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, hub_always_push=True, callbacks=[stalled, saved, At(on_save=delete)]
    )
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert_all_as_saved(bucket_id, saved, tmp_path / "pulled")


def test_what_takes_long_at_the_root_holds_up_no_checkpoint(bucket_id, tmp_path, messages):
    arrived = Event()

    def wait_for_the_commits(_state):
        while len([line for line in messages() if line.startswith("Committed")]) < 3:
            pass
        arrived.set()

    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, hub_always_push=True, callbacks=[At(on_train_end=wait_for_the_commits)]
    )
    trainer._bucket.uploader.afterwards.put(Job("a large file", arrived.wait))
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert "model.safetensors" in bucket_files(bucket_id)


class OutOfMemoryOnce(Trainer):
    """Meets the limit of the memory at its fourth step, as long as the batch size is the first one."""

    def training_step(self, *args, **kwargs):
        if self._train_batch_size == 4 and self.state.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().training_step(*args, **kwargs)


def test_a_second_save_of_a_step_leaves_the_first_push_of_it_unharmed(bucket_id, tmp_path, stalled, messages):
    saved = Saved()
    first = {}
    trainer = tiny_trainer(
        tmp_path / "out",
        trainer_class=OutOfMemoryOnce,
        bucket_id=bucket_id,
        auto_find_batch_size=True,
        hub_always_push=True,
        callbacks=[stalled, saved, At(on_save=lambda _: first.update(first or saved.digests))],
    )
    trainer.train()

    assert first["checkpoint-2"]["model.safetensors"] != saved.digests["checkpoint-2"]["model.safetensors"]
    lines = [line.split("/")[-1].split(":")[0] for line in messages() if line.startswith("Committed")]
    assert lines == ["checkpoint-2", "checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert not [line for line in messages() if "failed" in line]
    assert_all_as_saved(bucket_id, saved, tmp_path / "pulled")


@pytest.fixture
def tampering(tmp_path):
    """Somebody writes into the weights of a checkpoint after it was saved, at the steps that are put into the list."""
    steps = []

    def tamper(state):
        if state.global_step in steps:
            folder = tmp_path / "out" / f"checkpoint-{state.global_step}"
            with open(folder / "model.safetensors", "r+b") as weights:
                weights.write(b"torn")

    return steps, At(on_step_begin=tamper, on_train_end=tamper)


def test_a_checkpoint_that_changed_is_set_aside_at_once_and_holds_up_nobody(bucket_id, tmp_path, tampering, messages):
    steps, tamper = tampering
    steps += [2, 4]  # the second time in vain: once is enough to copy from then on

    def wait_for_the_news(state):
        while state.global_step == 3 and not any("set aside" in line for line in messages()):
            pass

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_always_push=True,
        model=tiny_model(hidden_size=256),
        callbacks=[tamper, At(on_step_end=wait_for_the_news)],
    )
    gate = Event()
    trainer._bucket.uploader.checkpoints.put(Job("gate", gate.wait))
    trainer.add_callback(At(on_step_begin=lambda state: state.global_step == 2 and gate.set()))
    trainer.train()

    told = [line for line in messages() if "checkpoint-2" in line]
    assert told == [line for line in told if "model.safetensors of checkpoint-2 changed on disk" in line]
    assert len(told) == 1
    assert len([line for line in messages() if "are copied from now on, at each save" in line]) == 1
    assert committed(bucket_id) == ["checkpoint-4", "checkpoint-6"]
    assert (tmp_path / "out" / "_bucket" / "set_aside" / "not_pushed" / "checkpoint-2").is_dir()
    assert not list((tmp_path / "out" / "_bucket").glob("outbox/*"))


def test_a_last_checkpoint_that_changed_is_an_error_at_the_end(bucket_id, tmp_path, stalled, tampering):
    steps, tamper = tampering
    steps += [6]
    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, model=tiny_model(hidden_size=256), callbacks=[tamper, stalled]
    )
    with pytest.raises(RuntimeError, match="checkpoint-6 .*model.safetensors of checkpoint-6 changed on disk"):
        trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_writing_into_a_checkpoint_in_mid_push_commits_nothing(hub, bucket_id, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-1")
    bucket = CheckpointBucket(bucket_id)
    bucket.create()
    hub.clear_requests()
    hub.hold(BATCH)

    with ThreadPoolExecutor() as pool:
        push = pool.submit(bucket.push, folder)
        hub.wait_for(BATCH)
        write_checkpoint(folder, seed=1)  # of the same sizes
        hub.release()

    with pytest.raises(RuntimeError, match="changed on disk while it was pushed"):
        push.result()
    assert committed(bucket_id) == []


def test_a_second_push_of_a_step_takes_the_old_manifest_away_first(hub, bucket_id, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-1")
    (folder / "old.txt").write_bytes(b"not there any more next time")
    bucket = CheckpointBucket(bucket_id)
    bucket.create()
    bucket.push(folder)
    assert committed(bucket_id) == ["checkpoint-1"]
    write_checkpoint(folder, seed=1)
    (folder / "old.txt").unlink()
    hub.fault("POST /v1/xorbs", status=403, times=None)

    with pytest.raises(ConnectionError):
        bucket.push(folder)
    assert MANIFEST_NAME not in " ".join(bucket_files(bucket_id))
    hub.clear_faults()
    bucket.push(folder)

    assert set(bucket.latest().manifest.files) == {*SIZES, "trainer_state.json"}
    assert "checkpoint-1/old.txt" not in bucket_files(bucket_id)
