"""`keep_local=False`: callbacks, and whatever lies where a checkpoint is to be."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.hub.no_disk.saves import ALL, BATCH, leave_behind, no_disk, there
from tests.training import digests
from transformers_buckets import BucketCallback, BucketPushError, CheckpointBucket


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
