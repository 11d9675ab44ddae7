"""`async_save`: the same checkpoints, written behind the back of the training."""

import gc
import json
import threading
from pathlib import Path

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerState

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.hub.held_writer import hold_writer
from tests.training import digests, same_weights, tiny_dataset, tiny_trainer
from transformers_buckets import BucketPushError, CheckpointBucket, Trainer
from transformers_buckets.bucket.inventory import whole
from transformers_buckets.saving.snapshot import Snapshot
from transformers_buckets.saving.snapshot_writer import SnapshotWriter


def saved(folder):
    """The files of a checkpoint but those that name the run: times, folders and arguments differ."""
    return {
        path: digest
        for path, digest in digests(folder).items()
        if path not in ("training_args.bin", "trainer_state.json")
    }


def trainer_state(folder):
    """What the trainer knew at a save, without the times."""
    state = json.loads((folder / "trainer_state.json").read_text())
    return {**state, "log_history": len(state["log_history"])}


def test_files_are_the_same_byte_for_byte(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "plain", push_to_bucket=False).train()
    tiny_trainer(tmp_path / "async", bucket_id=bucket_id, hub_always_push=True, async_save=True).train()

    for step in (2, 4, 6):
        name = f"checkpoint-{step}"
        assert saved(tmp_path / "async" / name) == saved(tmp_path / "plain" / name)
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_resume_is_bit_identical(bucket_id, tmp_path):
    whole = tiny_trainer(tmp_path / "whole", push_to_bucket=False)
    whole.train()
    tiny_trainer(tmp_path / "first", bucket_id=bucket_id, hub_always_push=True, async_save=True).train()

    resumed = tiny_trainer(tmp_path / "second", push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-4")

    assert same_weights(resumed.model, whole.model)


@pytest.fixture
def late_writer(mocker):
    """The writer does nothing before an event is set."""
    return hold_writer(mocker)


def test_the_state_is_that_of_the_save_not_of_the_write(bucket_id, tmp_path, late_writer):
    tiny_trainer(tmp_path / "plain", push_to_bucket=False, save_steps=3).train()
    further = At(on_step_end=lambda state: late_writer.set() if state.global_step == 5 else None)
    tiny_trainer(tmp_path / "async", bucket_id=bucket_id, async_save=True, save_steps=3, callbacks=[further]).train()

    assert saved(tmp_path / "async" / "checkpoint-3") == saved(tmp_path / "plain" / "checkpoint-3")
    assert trainer_state(tmp_path / "async" / "checkpoint-3") == trainer_state(tmp_path / "plain" / "checkpoint-3")


def test_the_model_repo_is_told_the_step_of_the_save(bucket_id, tmp_path, api, late_writer):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    further = At(on_step_end=lambda state: late_writer.set() if state.global_step == 5 else None)
    tiny_trainer(
        tmp_path,
        bucket_id=bucket_id,
        async_save=True,
        save_steps=3,
        callbacks=[further],
        push_to_hub=True,
        hub_model_id=repo_id,
        hub_always_push=True,
    ).train()

    titles = [commit.title for commit in api.list_repo_commits(repo_id)]
    assert "Training in progress, step 3" in titles


def test_rotation_takes_no_checkpoint_away_before_the_next_one_can_be_resumed_from(bucket_id, tmp_path, mocker):
    """Whenever a save is written, that of the next step has begun; the folder of the second is there already, and newer."""
    began = {step: threading.Event() for step in range(2, 6)}
    found = []
    write = SnapshotWriter._write

    def late(*args):
        if (following := len(found) + 2) in began:
            assert began[following].wait(30)
        write(*args)
        found.append([path.name for path in tmp_path.glob("checkpoint-*") if not whole(path)[1]])

    mocker.patch.object(SnapshotWriter, "_write", late)
    tiny_trainer(
        tmp_path,
        bucket_id=bucket_id,
        async_save=True,
        save_steps=1,
        save_total_limit=1,
        hub_always_push=True,
        callbacks=[At(on_step_begin=lambda state: state.global_step in began and began[state.global_step].set())],
    ).train()

    assert all(found), found  # at any time there is one that can be resumed from
    assert max(map(len, found)) <= 2, found  # and no more stay than that and the one before
    assert committed(bucket_id) == [f"checkpoint-{step}" for step in range(1, 7)]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-6"]


def test_the_oldest_that_waits_is_skipped_and_the_last_always_lands(hub, bucket_id, tmp_path):
    hold = At(on_train_begin=lambda _: hub.hold("POST .*/batch"), on_train_end=lambda _: hub.release())
    tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, async_save=True, max_steps=8, save_steps=1, callbacks=[hold]
    ).train()

    landed = committed(bucket_id)
    assert landed[-1] == "checkpoint-8"
    assert len(landed) == 1 + 3  # the one that was under way, and those that waited
    assert digests(CheckpointBucket(bucket_id).pull("checkpoint-8", tmp_path)) == digests(
        tmp_path / "out" / "checkpoint-8"
    )


def test_at_most_two_copies_are_in_memory(bucket_id, tmp_path, mocker, late_writer):
    """The third save waits for the first to be on disk."""
    began = []
    free_slot = SnapshotWriter._free_slot

    def watched(self):
        if all(self._writes):
            began.extend(tmp_path.glob("_bucket/saving/checkpoint-*"))
            late_writer.set()
        return free_slot(self)

    mocker.patch.object(SnapshotWriter, "_free_slot", watched)
    tiny_trainer(tmp_path, bucket_id=bucket_id, async_save=True, max_steps=3, save_steps=1).train()

    assert {path.name for path in began} == {"checkpoint-1", "checkpoint-2"}


@pytest.mark.slow
def test_nothing_of_a_copy_outlives_its_save(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path, bucket_id=bucket_id, async_save=True, save_steps=1)
    trainer.train()
    gc.collect()

    alive = [thing for thing in gc.get_objects() if type(thing) is Trainer and thing.model is trainer.model]
    assert alive == [trainer]


def test_nothing_of_a_copy_outlives_the_training(bucket_id, tmp_path):
    def alive():
        gc.collect()
        return {id(thing) for thing in gc.get_objects() if is_buffer(thing)}

    def is_buffer(thing):
        return type(thing) is torch.Tensor and thing.dtype == torch.uint8 and thing.numel() >= 4096

    before = alive()
    during = At(on_step_end=lambda state: during_training.update(alive() - before) if state.global_step == 5 else None)
    during_training = set()
    trainer = tiny_trainer(tmp_path, bucket_id=bucket_id, async_save=True, callbacks=[during])
    trainer.train()

    assert during_training
    assert not alive() & during_training


def test_what_a_killed_process_left_is_gone_at_the_next_start(bucket_id, tmp_path):
    left = tmp_path / "_bucket" / "saving" / "checkpoint-4" / "checkpoint-4"
    left.mkdir(parents=True)
    (left / "trainer_state.json").write_text("{}")
    tiny_trainer(tmp_path, bucket_id=bucket_id, save_steps=3, hub_always_push=True).train()

    assert not left.parent.parent.exists()
    assert committed(bucket_id) == ["checkpoint-3", "checkpoint-6"]


def test_a_checkpoint_has_its_name_once_it_is_complete(bucket_id, tmp_path, late_writer):
    seen = {}

    def look(state):
        seen[state.global_step] = [path.name for path in tmp_path.glob("checkpoint-*")]
        if state.global_step == 4:
            late_writer.set()

    tiny_trainer(
        tmp_path, bucket_id=bucket_id, async_save=True, save_steps=2, callbacks=[At(on_step_end=look)]
    ).train()

    assert seen[3] == seen[4] == []
    assert whole(tmp_path / "checkpoint-2")[1] == []
    assert not (tmp_path / "_bucket" / "saving" / "checkpoint-2").exists()


def test_a_save_of_the_same_step_replaces_what_was_there(bucket_id, tmp_path):
    tiny_trainer(tmp_path, bucket_id=bucket_id, async_save=True, learning_rate=1e-3).train()
    (tmp_path / "checkpoint-2" / "optimizer.bin").write_bytes(b"of another library")
    tiny_trainer(tmp_path, bucket_id=bucket_id, async_save=True, hub_always_push=True).train()
    tiny_trainer(tmp_path / "plain", push_to_bucket=False).train()

    assert saved(tmp_path / "checkpoint-2") == saved(tmp_path / "plain" / "checkpoint-2")


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


def full_disk_at(mocker, *steps: int):
    """The writer finds no room for the checkpoints of some steps."""
    write = Snapshot.write

    def full(self):
        if any(f"checkpoint-{step}" in path for step in steps for path in self._payloads):
            raise OSError("No space left on device")
        write(self)

    mocker.patch.object(Snapshot, "write", full)


def test_a_failed_write_is_told_at_once_and_training_goes_on(bucket_id, tmp_path, mocker, messages):
    full_disk_at(mocker, 2)
    told = []
    look = At(on_step_end=lambda state: told.append(any("No space left" in line for line in messages())))
    wait = At(on_step_begin=lambda state: trainer._staging._writer.wait() if state.global_step == 2 else None)
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, async_save=True, callbacks=[wait, look])
    trainer.train()  # a later one is safe: nothing is missing

    assert told == [False, False, True, True, True, True]
    assert committed(bucket_id) == ["checkpoint-4", "checkpoint-6"]
    assert not (tmp_path / "out" / "checkpoint-2").exists() and not (tmp_path / "out" / "_bucket").exists()


def test_no_room_for_what_transformers_writes_at_once_does_not_end_the_training(bucket_id, tmp_path, mocker, messages):
    write = TrainerState.save_to_json

    def full(self, path):
        if "checkpoint-4" in path:
            raise OSError(28, "No space left on device")
        write(self, path)

    mocker.patch.object(TrainerState, "save_to_json", full)
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, async_save=True)
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]
    assert any("checkpoint-4 cannot be pushed" in line and "No space left" in line for line in messages())
    assert not (tmp_path / "out" / "checkpoint-4").exists() and not (tmp_path / "out" / "_bucket").exists()


def test_a_failed_write_is_raised_at_the_end_if_it_is_missing(bucket_id, tmp_path, mocker):
    full_disk_at(mocker, 4, 6)

    with pytest.raises(BucketPushError, match="checkpoint-6 .*No space left") as raised:
        tiny_trainer(tmp_path / "out", bucket_id=bucket_id, async_save=True).train()

    assert raised.value.output.global_step == 6
    assert committed(bucket_id) == ["checkpoint-2"]


def test_what_a_class_in_front_adds_after_the_save_is_part_of_the_checkpoint(bucket_id, tmp_path):
    """As trainers of TRL do, which `transformers-buckets run` builds on ours."""

    def add(self, model, trial):
        super(InFront, self)._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
        (folder / "entropy_ctrl_state.json").write_text(str(self.state.global_step))

    InFront = type("InFront", (Trainer,), {"_save_checkpoint": add, "__module__": "trl.trainer"})
    tiny_trainer(tmp_path, trainer_class=InFront, bucket_id=bucket_id, async_save=True, hub_always_push=True).train()

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path / "pulled")
    assert (pulled / "entropy_ctrl_state.json").read_text() == "4"


def test_a_trainer_that_saves_its_own_way_saves_as_usual(bucket_id, tmp_path, messages):
    class Own(Trainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            super()._save_optimizer_and_scheduler(output_dir)
            torch.save({}, f"{output_dir}/mine.pt")

    tiny_trainer(tmp_path / "out", trainer_class=Own, bucket_id=bucket_id, async_save=True).train()

    assert "mine.pt" in CheckpointBucket(bucket_id).latest().manifest.files
    assert sum("Own has its own _save_optimizer_and_scheduler" in line for line in messages()) == 1
