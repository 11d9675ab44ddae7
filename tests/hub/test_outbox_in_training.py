"""What a crash left in the outbox is delivered or dropped at the next start, whichever is right."""

import shutil

import pytest
from transformers.trainer_utils import get_last_checkpoint

from tests.hub.callbacks import At, Saved
from tests.hub.contents import bucket_files, committed
from tests.training import digests, tiny_trainer
from transformers_buckets import BucketPushError, CheckpointBucket


ALL = ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def outbox(folder) -> list[str]:
    place = folder / "_bucket" / "outbox"
    return (
        sorted(path.name for entry in place.iterdir() for path in entry.iterdir() if path.is_dir())
        if place.is_dir()
        else []
    )


def leave_behind(hub, folder, bucket_id, resume=None, **arguments) -> Saved:
    """A process that ends without having delivered anything of its own; its trainer is forgotten."""
    saved = Saved()
    trainer = tiny_trainer(folder, bucket_id=bucket_id, callbacks=[saved], **arguments)
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=403, times=None)))
    with pytest.raises(BucketPushError):
        trainer.train(resume_from_checkpoint=resume)
    hub.clear_faults()
    return saved


def assert_delivered(bucket_id, name, saved, tmp_path) -> None:
    assert name in committed(bucket_id)
    pulled = CheckpointBucket(bucket_id).pull(name, tmp_path / "pulled")
    assert digests(pulled) == saved.digests[name]


@pytest.mark.parametrize("resume", [None, True])
def test_a_restart_on_the_same_disk_delivers_what_was_left(hub, bucket_id, tmp_path, messages, resume):
    saved = leave_behind(hub, tmp_path / "out", bucket_id)
    assert outbox(tmp_path / "out") == ALL

    restarted = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8)
    restarted.train(resume_from_checkpoint=resume)

    assert any("Pushing checkpoint-6, which an earlier process left" in line for line in messages())
    assert outbox(tmp_path / "out") == []
    assert committed(bucket_id)[-1] == "checkpoint-8"
    if resume:
        assert_delivered(bucket_id, "checkpoint-6", saved, tmp_path)


def test_it_is_delivered_even_if_the_checkpoints_are_deleted(hub, bucket_id, tmp_path):
    saved = leave_behind(hub, tmp_path / "out", bucket_id)
    for folder in (tmp_path / "out").glob("checkpoint-*"):
        shutil.rmtree(folder)

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8).train(resume_from_checkpoint=True)

    assert_delivered(bucket_id, "checkpoint-6", saved, tmp_path)
    assert committed(bucket_id)[-1] == "checkpoint-8"


def test_with_hub_always_push_all_that_was_left_is_delivered_in_order(hub, bucket_id, tmp_path):
    leave_behind(hub, tmp_path / "out", bucket_id, hub_always_push=True)
    assert outbox(tmp_path / "out") == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]

    restarted = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8, hub_always_push=True)
    restarted.train(resume_from_checkpoint=True)

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-8"]


def test_it_is_dropped_when_another_machine_went_on(hub, bucket_id, tmp_path, messages):
    leave_behind(hub, tmp_path / "here", bucket_id)
    tiny_trainer(tmp_path / "elsewhere", bucket_id=bucket_id, max_steps=3, save_steps=3).train()

    tiny_trainer(tmp_path / "here", bucket_id=bucket_id, max_steps=8, save_steps=8).train()

    assert any("has gone on since" in line for line in messages())
    assert committed(bucket_id) == ["checkpoint-3", "checkpoint-8"]
    assert outbox(tmp_path / "here") == []


def test_a_second_crash_does_not_lose_what_came_after_the_first(hub, bucket_id, tmp_path):
    leave_behind(hub, tmp_path / "out", bucket_id)
    second = leave_behind(hub, tmp_path / "out", bucket_id, resume=True, max_steps=8)
    assert committed(bucket_id) == ALL, "what the first one left"
    assert outbox(tmp_path / "out") == ["checkpoint-8"]
    shutil.rmtree(tmp_path / "out" / "checkpoint-8")  # the outbox is all there is

    third = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=10)
    third.train(resume_from_checkpoint=True)

    assert_delivered(bucket_id, "checkpoint-8", second, tmp_path)


def test_it_is_delivered_into_a_bucket_that_was_made_anew(hub, api, bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2).train()
    saved = leave_behind(hub, tmp_path / "out", bucket_id, resume=True)
    api.delete_bucket(bucket_id)
    shutil.rmtree(tmp_path / "out" / "checkpoint-6")  # the outbox is all there is

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8).train(resume_from_checkpoint=True)

    assert_delivered(bucket_id, "checkpoint-6", saved, tmp_path)


def test_what_waits_for_another_bucket_is_let_be(hub, bucket_id, tmp_path):
    leave_behind(hub, tmp_path / "out", bucket_id)

    tiny_trainer(tmp_path / "out", bucket_id=f"{bucket_id}-2", max_steps=2).train()

    assert outbox(tmp_path / "out") == ALL
    assert committed(f"{bucket_id}-2") == ["checkpoint-2"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_outbox_never_shows(hub, bucket_id, tmp_path, mocker, links):
    """Neither in the bucket, nor to rotation, nor as a checkpoint to resume from."""
    if not links:
        mocker.patch("os.link", side_effect=OSError(18, "Invalid cross-device link"))
    seen = []
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        save_total_limit=1,
        hub_always_push=True,
        callbacks=[At(on_save=lambda _: seen.append(get_last_checkpoint(tmp_path / "out")))],
    )
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.3, times=4)
    trainer.train()

    assert seen == [f"{tmp_path}/out/checkpoint-{step}" for step in (2, 4, 6)]
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert not [path for path in bucket_files(bucket_id) if "outbox" in path or "entry.json" in path]
