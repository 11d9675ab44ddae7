"""What is committed can be resumed from on an empty machine; what cannot be is not committed, and that is told."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.hub.callbacks import At
from tests.hub.checkpoints import push_checkpoint, put, write_checkpoint
from tests.hub.contents import committed
from tests.training import digests, same_weights, tiny_trainer
from transformers_buckets import BucketPushError, BucketTrainerMixin, CheckpointBucket, Trainer
from transformers_buckets.bucket.errors import RunTakenOverError
from transformers_buckets.bucket.inventory import whole


ODD_NAMES = [
    "eval_2026-11-26T10:15:00.json",
    'what "is" this?*.txt',
    "Notes.txt",
    "notes.txt",
    "lang:en/adapter_model.bin",
]


def resumes_on_an_empty_machine(bucket_id, folder) -> None:
    """Training goes on from the bucket to the weights of a run that nobody interrupted."""
    resumed = tiny_trainer(folder, bucket_id=bucket_id, max_steps=8, lr_scheduler_type="constant")
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}")
    alone = tiny_trainer(folder.with_name("alone"), push_to_bucket=False, max_steps=8, lr_scheduler_type="constant")
    alone.train()
    assert same_weights(resumed.model, alone.model)


@pytest.mark.parametrize("saved", [{}, {"async_save": True}], ids=["", "async"])
def test_what_a_callback_adds_in_on_save_is_part_of_the_checkpoint(bucket_id, tmp_path, saved):
    out = tmp_path / "out"

    def add(state):
        folder = out / f"checkpoint-{state.global_step}"
        for name in ODD_NAMES:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{name} at {state.global_step}")

    trainer = tiny_trainer(
        out, bucket_id=bucket_id, lr_scheduler_type="constant", callbacks=[At(on_save=add)], **saved
    )
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    pulled = CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path / "here")
    assert {name: (pulled / name).read_text() for name in ODD_NAMES} == {name: f"{name} at 4" for name in ODD_NAMES}
    resumes_on_an_empty_machine(bucket_id, tmp_path / "empty")


def test_a_callback_may_rewrite_the_model_in_on_save(bucket_id, tmp_path):
    class SaveAgain(At):
        def on_save(self, args, state, control, model, **kwargs):
            model.save_pretrained(f"{args.output_dir}/checkpoint-{state.global_step}")

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[SaveAgain()]).train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert digests(CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "here")) == digests(
        tmp_path / "out" / "checkpoint-6"
    )


def test_what_a_subclass_adds_after_the_save_is_part_of_the_checkpoint(bucket_id, tmp_path):
    class Adds(Trainer):
        def _save_checkpoint(self, model, trial):
            super()._save_checkpoint(model, trial)
            Path(self.args.output_dir, f"checkpoint-{self.state.global_step}", "extra.bin").write_bytes(b"extra")

    tiny_trainer(tmp_path / "out", trainer_class=Adds, bucket_id=bucket_id).train()

    assert "extra.bin" in CheckpointBucket(bucket_id).latest().manifest.files


def test_small_files_may_be_appended_to_at_any_time(bucket_id, tmp_path, hub):
    def append(state):
        if state.global_step == 2:
            with open(tmp_path / "out" / "checkpoint-2" / "trainer_state.json", "a") as file:
                file.write("\n")
            hub.release()

    hold = At(on_train_begin=lambda _: hub.hold("POST .*/batch"), on_step_begin=append)
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[hold]).train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_a_link_to_a_file_is_followed(bucket_id, tmp_path):
    def move_weights(state):
        folder = tmp_path / "out" / f"checkpoint-{state.global_step}"
        elsewhere = tmp_path / "other disk" / str(state.global_step)
        elsewhere.mkdir(parents=True)
        shutil.move(folder / "model.safetensors", elsewhere)
        (folder / "model.safetensors").symlink_to(elsewhere / "model.safetensors")

    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, lr_scheduler_type="constant", callbacks=[At(on_save=move_weights)]
    )
    trainer.train()

    resumes_on_an_empty_machine(bucket_id, tmp_path / "empty")


def break_link(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "nowhere")


def put_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def take_state(folder: Path) -> None:
    (folder / "trainer_state.json").unlink()


def tear_state(folder: Path) -> None:
    (folder / "trainer_state.json").write_text('{"global_step": ')


def tear_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 100)


def take_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def take_random_state(folder: Path) -> None:
    (folder / "rng_state.pth").unlink()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (break_link, "model.safetensors is a link to a folder, or to nothing"),
        (put_a_pipe, "pipe is neither a file nor a folder"),
        (take_state, "trainer_state.json is missing"),
        (tear_state, "trainer_state.json is torn"),
        (take_weights, "it holds no weights"),
        (take_random_state, "rng_state.pth is missing"),
        (tear_weights, "model.safetensors is torn"),
    ],
)
def test_what_cannot_be_resumed_from_is_told_at_once_and_at_the_end_and_costs_no_other(
    bucket_id, tmp_path, damage, named, messages
):
    def on_save(state):
        if state.global_step == 6:
            damage(tmp_path / "out" / "checkpoint-6")

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_save=on_save)])
    with pytest.raises(BucketPushError, match="checkpoint-6"):
        trainer.train()

    assert [line for line in messages() if line.startswith("checkpoint-6 cannot be pushed") and named in line]
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert not (tmp_path / "out" / "checkpoint-6" / "checkpoint_manifest.json").exists()


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(bucket_id, tmp_path, mocker, messages):
    scandir = os.scandir

    def stale(path="."):
        if str(path).endswith("checkpoint-6/extra"):
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return scandir(path)

    mocker.patch("os.scandir", side_effect=stale)
    extra = At(on_save=lambda state: (tmp_path / "out" / f"checkpoint-{state.global_step}" / "extra").mkdir())
    with pytest.raises(BucketPushError, match="checkpoint-6"):
        tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[extra]).train()

    assert [line for line in messages() if "cannot be listed" in line and "Stale file handle" in line]
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_the_working_directory_may_change_at_any_time(bucket_id, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    wander = At(on_step_begin=lambda state: os.chdir(tmp_path / ("elsewhere" if state.global_step % 2 else ".")))
    tiny_trainer("out", bucket_id=bucket_id, save_steps=1, callbacks=[wander]).train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_save_that_goes_its_own_way_is_looked_at_like_any_other(bucket_id, tmp_path, messages):
    class OnlyWeights(Trainer):
        def _save_checkpoint(self, model, trial):
            self.save_model(f"{self.args.output_dir}/checkpoint-{self.state.global_step}", _internal_call=True)

    with pytest.raises(BucketPushError, match="checkpoint-6.*trainer_state.json is missing"):
        tiny_trainer(tmp_path / "out", trainer_class=OnlyWeights, bucket_id=bucket_id).train()

    told = [line for line in messages() if "cannot be pushed" in line]
    assert [line.split()[0] for line in told] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert committed(bucket_id) == []


def test_a_push_that_is_asked_for_on_its_own_pushes(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", push_to_bucket=False, max_steps=2).train()

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer._push_from_checkpoint(str(tmp_path / "out" / "checkpoint-2"))
    trainer._bucket.wait()

    assert committed(bucket_id) == ["checkpoint-2"]


def test_what_a_killed_process_left_torn_is_repaired_by_the_next_save_of_that_step(bucket_id, tmp_path, messages):
    torn = write_checkpoint(tmp_path / "out" / "checkpoint-2")
    (torn / "rng_state.pth").rename(torn / "rng_state_1.pth")
    (torn / "trainer_state.json").write_text('{"glob')

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id).train(resume_from_checkpoint="auto")

    assert any(f"{torn} is passed over" in line for line in messages())
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert not [path for path in CheckpointBucket(bucket_id).find("checkpoint-2").manifest.files if "_1" in path]


def test_adopt_takes_only_what_can_be_resumed_from(api, bucket_id):
    put(api, bucket_id, **{"checkpoint-4/model.safetensors": b"weights", "checkpoint-4/config.json": b"{}"})

    with pytest.raises(ValueError, match="cannot be resumed from: trainer_state.json is missing"):
        CheckpointBucket(bucket_id).adopt("checkpoint-4")
    assert committed(bucket_id) == []


@pytest.mark.parametrize("extra", ["scheduler.pt", "rng_state_1.pth", "checkpoint-is-incomplete.txt"])
def test_a_local_copy_with_more_in_it_is_not_the_same(bucket_id, tmp_path, extra):
    origin = push_checkpoint(bucket_id, tmp_path / "checkpoint-4")
    (CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path / "here") / extra).write_bytes(b"of another training")

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path / "here")

    assert digests(pulled) == digests(origin)


def test_two_trainings_in_one_run_never_mix_and_the_older_one_is_told(hub, bucket_id, tmp_path):
    go_on, older_waits = threading.Event(), threading.Event()

    def wait(state):
        if state.global_step == 3:
            older_waits.set()
            assert go_on.wait(60)

    older = tiny_trainer(tmp_path / "older", bucket_id=bucket_id, callbacks=[At(on_step_begin=wait)])
    errors = []

    def train():
        try:
            older.train()
        except BucketPushError as error:
            errors.append(str(error))

    thread = threading.Thread(target=train)
    thread.start()
    assert older_waits.wait(60)
    newer = tiny_trainer(tmp_path / "newer", bucket_id=bucket_id, learning_rate=1e-2)
    newer.train()
    go_on.set()
    thread.join()

    (error,) = errors
    assert f"hf://buckets/{bucket_id} has been taken over by process {os.getpid()} on " in error
    assert "give one of them another bucket_id" in error
    for checkpoint in CheckpointBucket(bucket_id).checkpoints():
        assert checkpoint.state == "committed"
        pulled = CheckpointBucket(bucket_id).pull(checkpoint, tmp_path / "pulled")
        assert digests(pulled) == digests(tmp_path / "newer" / checkpoint.name)


def test_who_has_been_taken_over_ends_at_the_next_save(bucket_id, tmp_path, messages):
    def another_machine(state):
        if state.global_step == 3:
            tiny_trainer(tmp_path / "newer", bucket_id=bucket_id, max_steps=2).train()
        while state.global_step == 6 and not any("has been taken over by" in line for line in messages()):
            assert "checkpoint-4" not in committed(bucket_id)

    older = tiny_trainer(
        tmp_path / "older", bucket_id=bucket_id, max_steps=10, callbacks=[At(on_step_begin=another_machine)]
    )
    with pytest.raises(RunTakenOverError, match="has been taken over by process .* another bucket_id"):
        older.train()

    assert older.state.global_step in (4, 6, 8)
    assert whole(tmp_path / "older" / f"checkpoint-{older.state.global_step}")[1] == []
    assert committed(bucket_id) == ["checkpoint-2"]


def test_the_mixin_notices_a_base_class_that_saves_in_its_own_way(bucket_id, tmp_path):
    import transformers

    class Own(transformers.Trainer):
        def _save_checkpoint(self, model, trial):
            pass

    class Mixed(BucketTrainerMixin, Own):
        pass

    with pytest.raises(BucketPushError, match="checkpoint-6 is gone"):
        tiny_trainer(tmp_path / "out", trainer_class=Mixed, bucket_id=bucket_id).train()
