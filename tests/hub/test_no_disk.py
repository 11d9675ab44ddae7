"""`keep_local=False`: the same checkpoints, and no disk sees them."""

import gc
import json
import threading
import time
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from tests.hub.callbacks import At
from tests.hub.checkpoints import put
from tests.hub.contents import bucket_files, committed
from tests.training import BEST, digests, same_weights, tiny_arguments, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import (
    BrokenCheckpointError,
    BucketCallback,
    BucketError,
    BucketPushError,
    CheckpointBucket,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
)
from transformers_buckets.saving import memory_folder
from transformers_buckets.saving.slots import Slots


ALL = ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
NAMED = {"training_args.bin", "trainer_state.json", "README.md"}  # folders and times differ
BATCH, DATA = "POST .*/batch", "POST /v1/xorbs"


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """Folders in memory are where a test can see them. Nothing is left there in the end."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(memory_folder, "MEMORY", folder)
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture(autouse=True)
def streamed(monkeypatch):
    """Large files are streamed; here a file of some kB is a large one."""
    monkeypatch.setattr("transformers_buckets.saving.in_memory.LOOKED_AT", 20_000)


def no_disk(output_dir, bucket_id, **arguments):
    return tiny_trainer(output_dir, bucket_id=bucket_id, **{"keep_local": False, "hub_always_push": True, **arguments})


def there(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_same(bucket_id: str, name: str, plain: Path, folder: Path) -> None:
    """What is committed is what an ordinary save left: byte for byte, but for the name that torch gives to an archive."""
    pulled = CheckpointBucket(bucket_id).pull(name, folder)
    ours, theirs = digests(pulled), digests(plain)
    assert ours.keys() == theirs.keys()
    for path in {path for path in ours if ours[path] != theirs[path]} - NAMED:
        assert path.endswith((".pt", ".pth"))
        first, second = torch.load(pulled / path), torch.load(plain / path)
        torch.testing.assert_close(first, second, rtol=0, atol=0)


# ---- The same checkpoints ----


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


# ---- Callbacks ----


class Adds(TrainerCallback):
    """Puts a file into the checkpoint, by the path that everybody uses."""

    def on_save(self, args, state, control, **kwargs):
        Path(args.output_dir, f"checkpoint-{state.global_step}", "mine.json").write_text(str(state.global_step))


def test_what_a_callback_adds_is_part_of_the_checkpoint(bucket_id, tmp_path):
    no_disk(tmp_path / "out", bucket_id, callbacks=[Adds()]).train()

    for step in (2, 4, 6):
        pulled = CheckpointBucket(bucket_id).pull(f"checkpoint-{step}", tmp_path / "pulled")
        assert (pulled / "mine.json").read_text() == str(step)
    assert there(tmp_path / "out") == []


def test_what_a_callback_writes_itself_replaces_what_was_saved(bucket_id, tmp_path):
    """Weights of the same size, and an optimizer of another one."""
    checkpoint = tmp_path / "out" / "checkpoint-2"

    def rewrite(state):
        save_file({name: torch.zeros_like(tensor) for name, tensor in trainer.model.state_dict().items()}, averaged)
        torch.save({**trainer.optimizer.state_dict(), "mine": torch.ones(5)}, checkpoint / "optimizer.pt")

    averaged = checkpoint / "model.safetensors"
    trainer = no_disk(tmp_path / "out", bucket_id, max_steps=2, callbacks=[At(on_save=rewrite)])
    trainer.train()

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-2", tmp_path / "pulled")
    assert not any(tensor.any() for tensor in load_file(pulled / "model.safetensors").values())
    assert torch.load(pulled / "optimizer.pt")["mine"].tolist() == [1] * 5
    assert there(tmp_path / "out") == []


def test_what_a_callback_writes_itself_goes_to_local_disk_if_it_cannot_be_sent(hub, bucket_id, tmp_path):
    def rewrite(state):
        torch.save({"mine": torch.ones(5)}, tmp_path / "out" / f"checkpoint-{state.global_step}" / "optimizer.pt")
        hub.fault(BATCH, status=403, times=None)

    with pytest.raises(BucketPushError):
        no_disk(tmp_path / "out", bucket_id, max_steps=2, callbacks=[At(on_save=rewrite)]).train()
    (kept,) = (tmp_path / "out" / "_bucket" / "outbox").glob("*/checkpoint-2/optimizer.pt")

    assert torch.load(kept)["mine"].tolist() == [1] * 5


def test_what_holds_the_token_does_not_leave(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})
    add = At(on_save=lambda state: (tmp_path / f"out/checkpoint-{state.global_step}/note.txt").write_text(token))
    no_disk(tmp_path / "out", bucket_id, hub_token=token, callbacks=[add]).train()

    for name in committed(bucket_id):
        pulled = CheckpointBucket(bucket_id).pull(name, tmp_path / "pulled")
        assert not [path for path in pulled.iterdir() if token.encode() in path.read_bytes()]
        assert not (pulled / "note.txt").exists()
    assert not [line for line in messages() if token in line]


@pytest.mark.slow
def test_commits_are_told(bucket_id, tmp_path):
    class Hears(BucketCallback):
        sizes = {}

        def on_bucket_commit(self, args, state, control, address, manifest, **kwargs):
            self.sizes[address.rsplit("/", 1)[1]] = manifest.size

    no_disk(tmp_path / "out", bucket_id, callbacks=[Hears()]).train()

    manifests = {c.name: c.manifest.size for c in CheckpointBucket(bucket_id).checkpoints()}
    assert Hears.sizes == manifests


@pytest.mark.parametrize("keep_local", [False, True])
def test_a_link_that_a_killed_process_left_is_in_nobodys_way(bucket_id, tmp_path, memory, keep_local):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint-2").symlink_to(memory / "transformers_buckets-dead" / "save-1-1" / "checkpoint-2")
    no_disk(tmp_path / "out", bucket_id, keep_local=keep_local).train(resume_from_checkpoint="auto")

    assert committed(bucket_id) == ALL
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == (ALL if keep_local else [])


@pytest.mark.parametrize("kind", ["folder", "link", "relative link"])
def test_what_is_not_ours_is_set_aside_whole(hub, bucket_id, tmp_path, messages, kind):
    """Also if nothing is committed in its place."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    theirs, old = elsewhere if "link" in kind else out / "checkpoint-2", out / "checkpoint-2"
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("precious")
    (theirs / "model.safetensors").write_text("of another run")
    if "link" in kind:
        out.mkdir()
        old.symlink_to(elsewhere if kind == "link" else "../elsewhere")
    before = digests(theirs)
    leave_behind(hub, out, bucket_id, max_steps=2)

    (aside,) = (out / "_bucket" / "set_aside").iterdir()
    assert digests(aside) == before and aside.is_symlink() == ("link" in kind)
    if "link" in kind:
        assert digests(theirs) == before
    assert any(f"What was in {old} is in {aside} now" in line for line in messages())
    assert not old.exists()


def test_what_is_not_ours_and_cannot_be_set_aside_stays_and_is_told(bucket_id, tmp_path, messages, mocker):
    old = tmp_path / "out" / "checkpoint-2"
    old.mkdir(parents=True)
    (old / "notes.txt").write_text("precious")
    mocker.patch("transformers_buckets.saving.marks.set_aside", side_effect=OSError("Device or resource busy"))
    no_disk(tmp_path / "out", bucket_id, max_steps=2).train()

    assert there(tmp_path / "out") == ["checkpoint-2", "checkpoint-2/notes.txt"]
    assert committed(bucket_id) == ["checkpoint-2"]
    (line,) = [line for line in messages() if "Device or resource busy" in line]
    assert f"What callbacks add to {old} will not be part of the checkpoint" in line


# ---- The best one ----


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


# ---- The Hub is away ----


def wait_for_line(messages, text: str) -> None:
    while not any(text in line for line in messages()):
        time.sleep(0.01)


def leave_behind(hub, output_dir, bucket_id, **arguments) -> BucketPushError:
    away = At(on_train_begin=lambda _: hub.fault(BATCH, status=403, times=None))
    with pytest.raises(BucketPushError) as raised:
        no_disk(output_dir, bucket_id, callbacks=[away], **arguments).train()
    hub.clear_faults()
    return raised.value


@pytest.mark.parametrize("keeps", ["the newest", pytest.param("all", marks=pytest.mark.slow)])
def test_what_cannot_be_sent_is_on_local_disk_and_a_restart_delivers_it(hub, bucket_id, tmp_path, messages, keeps):
    tiny_trainer(tmp_path / "plain", push_to_bucket=False).train()
    error = leave_behind(hub, tmp_path / "out", bucket_id, hub_always_push=keeps == "all")

    assert "checkpoint-6" in str(error) and str(tmp_path / "out" / "_bucket" / "outbox") in str(error)
    assert any("checkpoint-6 is on local disk now, in " in line for line in messages())
    here = {path.name for path in (tmp_path / "out" / "_bucket" / "outbox").glob("*/checkpoint-*")}
    assert set(ALL) <= here if keeps == "all" else "checkpoint-6" in here

    restarted = no_disk(tmp_path / "out", bucket_id, max_steps=8)
    restarted.train(resume_from_checkpoint=True)

    assert restarted.state.global_step == 8
    assert committed(bucket_id)[-2:] == ["checkpoint-6", "checkpoint-8"]
    assert_same(bucket_id, "checkpoint-6", tmp_path / "plain" / "checkpoint-6", tmp_path / "pulled")
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_what_is_on_local_disk_stays_there_while_newer_ones_are_in_memory_only(hub, bucket_id, tmp_path, messages):
    outbox, seen = tmp_path / "out" / "_bucket" / "outbox", []

    def fail(state):
        hub.fault(BATCH, status=403, times=None)

    def step(state):
        if state.global_step == 3:
            wait_for_line(messages, "checkpoint-2 is on local disk now")
            hub.clear_faults()
            hub.hold(BATCH)
        if state.global_step == 5:  # if the machine were lost now
            seen.extend(path.name for path in outbox.glob("*/checkpoint-*"))
            hub.release()

    callbacks = [At(on_train_begin=fail, on_step_end=step)]
    no_disk(tmp_path / "out", bucket_id, hub_always_push=False, callbacks=callbacks).train()

    assert seen == ["checkpoint-2"]
    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_what_is_on_local_disk_is_delivered_though_its_bucket_is_gone(hub, api, bucket_id, tmp_path):
    leave_behind(hub, tmp_path / "out", bucket_id, hub_always_push=False)
    api.delete_bucket(bucket_id)
    begun = []

    restarted = no_disk(
        tmp_path / "out",
        bucket_id,
        max_steps=8,
        callbacks=[At(on_train_begin=lambda state: begun.append(state.global_step))],
    )
    restarted.train(resume_from_checkpoint="auto")

    assert begun == [6]
    assert committed(bucket_id)[-2:] == ["checkpoint-6", "checkpoint-8"]


def test_a_hub_that_is_back_gets_what_went_to_local_disk(hub, bucket_id, tmp_path):
    times = At(
        on_train_begin=lambda _: hub.fault(BATCH, status=403, times=None),
        on_step_end=lambda state: hub.clear_faults() if state.global_step == 5 else None,
    )
    no_disk(tmp_path / "out", bucket_id, callbacks=[times]).train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert there(tmp_path / "out") == []


def test_a_stream_that_is_not_answered_is_given_up_and_put_on_local_disk(hub, bucket_id, tmp_path, messages):
    hold = At(on_train_begin=lambda _: hub.hold(DATA))
    with pytest.raises(BucketPushError, match="bucket_timeout=1"):
        no_disk(tmp_path / "out", bucket_id, bucket_timeout=1, max_steps=2, callbacks=[hold]).train()
    hub.release()

    assert any("checkpoint-2 is on local disk now" in line for line in messages())
    no_disk(tmp_path / "out", bucket_id, max_steps=2).train(resume_from_checkpoint="auto")
    assert committed(bucket_id) == ["checkpoint-2"]


def test_who_does_not_want_to_wait_finds_it_on_local_disk(hub, bucket_id, tmp_path, mocker):
    """Ctrl+C in the last wait, and once more."""
    mocker.patch("transformers_buckets.saving.uploader.Wait.out", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        no_disk(
            tmp_path / "out", bucket_id, max_steps=2, callbacks=[At(on_train_begin=lambda _: hub.hold(DATA))]
        ).train()
    hub.release()
    mocker.stopall()
    assert list((tmp_path / "out" / "_bucket" / "outbox").glob("*/checkpoint-2/optimizer.pt"))


def test_what_neither_hub_nor_disk_take_is_lost_and_told(hub, bucket_id, tmp_path, messages, mocker):
    mocker.patch("transformers_buckets.saving.outbox.Outbox.open", side_effect=OSError("No space left on device"))
    error = leave_behind(hub, tmp_path / "out", bucket_id)

    assert "checkpoint-6" in str(error) and "No space left on device" in str(error)
    assert any("checkpoint-6 cannot be pushed" in line and "is lost" in line for line in messages())


# ---- How much memory ----


@pytest.fixture
def live(mocker):
    """How many snapshots were in memory at once, at most."""
    now, most = [0], [0]
    take, give_back = Slots.take, Slots.give_back

    def taking(self, make_room, is_urgent):
        buffers = take(self, make_room, is_urgent)
        now[0] += 1
        most[0] = max(most[0], now[0])
        return buffers

    def giving_back(self, buffers):
        now[0] -= 1
        give_back(self, buffers)

    mocker.patch.object(Slots, "take", taking)
    mocker.patch.object(Slots, "give_back", giving_back)
    yield most
    assert now[0] == 0


def test_two_are_in_memory_at_most_and_the_newest_wins(hub, bucket_id, tmp_path, messages, live):
    """Nothing is answered until the last save is made."""
    hold = At(
        on_train_begin=lambda _: hub.hold(DATA),
        on_step_begin=lambda state: hub.wait_for(DATA) if state.global_step == 1 else None,
        on_train_end=lambda _: hub.release(),
    )
    no_disk(tmp_path / "out", bucket_id, save_steps=1, hub_always_push=False, callbacks=[hold]).train()

    assert live == [2]
    assert committed(bucket_id) == ["checkpoint-1", "checkpoint-6"]
    told = [line for line in messages() if line.startswith("Skipped checkpoint-")]
    assert [line.split(":")[0] for line in told] == [f"Skipped checkpoint-{step}" for step in (2, 3, 4, 5)]


def test_training_waits_if_all_shall_be_kept(hub, bucket_id, tmp_path, live):
    release = threading.Timer(1.0, hub.release)
    hold = At(on_train_begin=lambda _: (hub.hold(DATA), release.start()))
    no_disk(tmp_path / "out", bucket_id, save_steps=1, callbacks=[hold]).train()

    assert live == [2]
    assert committed(bucket_id) == [f"checkpoint-{step}" for step in range(1, 7)]


# ---- SIGTERM ----


def test_on_sigterm_the_newest_goes_to_the_bucket_at_once(hub, bucket_id, tmp_path, sigterm):
    trainer = no_disk(
        tmp_path / "out", bucket_id, enable_jit_checkpoint=True, callbacks=[At(on_step_begin=sigterm.at(3))]
    )
    sigterm.is_awaited_by(trainer)
    trainer.train()

    assert trainer.preempted
    assert committed(bucket_id)[-1] == f"checkpoint-{trainer.state.global_step}"
    assert not list((tmp_path / "out").glob("checkpoint-*/*"))


def test_on_sigterm_what_is_not_ours_is_set_aside(hub, bucket_id, tmp_path, sigterm):
    """transformers leaves its mark in the folder before it saves, and through a link in another one."""
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("precious")
    out.mkdir()
    for step in range(1, 7):
        (out / f"checkpoint-{step}").symlink_to(elsewhere)
    trainer = no_disk(
        out, bucket_id, save_steps=6, enable_jit_checkpoint=True, callbacks=[At(on_step_begin=sigterm.at(3))]
    )
    sigterm.is_awaited_by(trainer)
    trainer.train()

    assert trainer.preempted and len(committed(bucket_id)) == 1
    assert there(elsewhere) == ["notes.txt"]
    (aside,) = (out / "_bucket" / "set_aside").iterdir()
    assert aside.is_symlink() and aside.resolve() == elsewhere


# ---- Where it cannot be ----


def test_a_model_that_saves_in_its_own_way_is_saved_to_disk_and_that_is_told_first(bucket_id, tmp_path, messages):
    class Own(type(tiny_model())):
        def save_pretrained(self, folder, **kwargs):
            super().save_pretrained(folder, **kwargs)

    model = tiny_model()
    model.__class__ = Own
    seen = []
    look = At(on_train_begin=lambda _: seen.extend(there(tmp_path / "out")))
    no_disk(tmp_path / "out", bucket_id, model=model, callbacks=[look]).train()

    (line,) = [line for line in messages() if "keep_local=False has no effect" in line]
    assert "Own has its own save_pretrained" in line
    assert not any("checkpoint" in path for path in seen)
    assert committed(bucket_id) == ALL and (tmp_path / "out" / "checkpoint-6").is_dir()


def test_a_system_without_a_folder_in_memory(bucket_id, tmp_path, messages, monkeypatch):
    monkeypatch.setattr(memory_folder, "MEMORY", Path("/nowhere"))
    no_disk(tmp_path / "out", bucket_id, max_steps=2).train()

    assert any("has no folder in memory" in line for line in messages())
    assert (tmp_path / "out" / "checkpoint-2").is_dir() and committed(bucket_id) == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(push_to_bucket=False), "keep_local=False needs push_to_bucket=True"),
        (dict(push_to_hub=True), "hub_strategy='every_save'.*set hub_strategy='end'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_out(tmp_path, arguments, text):
    with pytest.raises(ValueError, match=text):
        tiny_arguments(tmp_path, keep_local=False, **arguments)


def test_on_the_command_line(tmp_path):
    parser = transformers.HfArgumentParser(Seq2SeqTrainingArguments)
    line = ["--output_dir", str(tmp_path), "--push_to_bucket", "--bucket_id", "my-org/my-run"]
    for more, expected in ([], True), (["--keep_local", "False"], False), (["--no_keep_local"], False):
        (args,) = parser.parse_args_into_dataclasses(line + more)
        assert args.keep_local is expected
    assert json.loads(args.to_json_string())["keep_local"] is False
