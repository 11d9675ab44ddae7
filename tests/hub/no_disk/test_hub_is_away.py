"""`keep_local=False`: what the Hub does not take goes to local disk rather than nowhere."""

import time

import pytest

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.hub.no_disk.saves import ALL, BATCH, DATA, assert_same, leave_behind, no_disk, there
from tests.training import tiny_trainer
from transformers_buckets import BucketPushError


def wait_for_line(messages, text: str) -> None:
    while not any(text in line for line in messages()):
        time.sleep(0.01)


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
