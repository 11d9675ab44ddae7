"""`keep_local=False`: two checkpoints are in memory at most, and a SIGTERM finds the newest there."""

import threading

import pytest

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.hub.no_disk.saves import DATA, no_disk, there
from transformers_buckets.saving.slots import Slots


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
