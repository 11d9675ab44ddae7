"""However a training ends, its last checkpoint lands before anybody goes home."""

import os
import re
import subprocess
import sys
from threading import Timer

import pytest

from tests.hub.callbacks import At, Saved
from tests.hub.contents import bucket_files, committed, root_files
from tests.training import digests, tiny_trainer
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.address import step_of


BATCH = "POST .*/batch"


@pytest.fixture
def slow_hub(hub):
    """Answers no batch until the first save, and a second after that."""
    rescue = Timer(30, hub.release)
    rescue.start()
    yield hub
    rescue.cancel()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_exception_in_training_goes_on_after_the_last_checkpoint_landed(hub, bucket_id, tmp_path, messages, error):
    saved = Saved()

    def break_off(state):
        if state.global_step == 5:
            raise error("enough")

    hub.fault(BATCH, delay=0.4, times=2)
    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, callbacks=[saved, At(on_step_end=break_off)], max_steps=10
    )
    with pytest.raises(error, match="enough"):
        trainer.train()

    assert committed(bucket_id)[-1] == "checkpoint-4"
    pulled = CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path / "pulled")
    assert digests(pulled) == saved.digests["checkpoint-4"]
    warning = next(line for line in messages() if line.startswith("Training broke off"))
    assert f"({error.__name__})" in warning
    assert f"{tmp_path}/out/_bucket/outbox" in warning


def test_an_exception_in_training_is_not_hidden_by_a_push_that_fails(hub, bucket_id, tmp_path, messages):
    def break_off(state):
        raise ValueError("enough")

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        callbacks=[At(on_train_begin=lambda _: hub.fault(BATCH, status=403, times=None), on_save=break_off)],
    )
    with pytest.raises(ValueError, match="enough"):
        trainer.train()

    assert any("transformers-buckets push" in line and "checkpoint-2" in line for line in messages())


def test_an_exception_without_pushes_under_way_is_passed_on_in_silence(hub, bucket_id, tmp_path, messages):
    def break_off(state):
        raise ValueError("enough")

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_step_end=break_off)])
    with pytest.raises(ValueError, match="enough"):
        trainer.train()

    assert len(messages()) == 1, "that the bucket was made"


def test_on_sigterm_the_newest_goes_first_and_what_waited_is_dropped(slow_hub, bucket_id, tmp_path, sigterm):
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        max_steps=100,
        save_steps=1,
        hub_always_push=True,
        enable_jit_checkpoint=True,
        callbacks=[
            At(
                on_train_begin=lambda _: slow_hub.hold(BATCH),
                on_save=sigterm.at(5),
                on_train_end=lambda _: slow_hub.release(),
            )
        ],
    )
    sigterm.is_awaited_by(trainer)
    trainer.train()

    landed = committed(bucket_id)
    newest = max((path.name for path in (tmp_path / "out").glob("checkpoint-*")), key=step_of)
    assert trainer.state.global_step < 100
    assert landed[-1] == newest
    assert len(landed) <= 2, "the one that was under way, and the newest"
    assert "checkpoint-is-incomplete.txt" not in " ".join(bucket_files(bucket_id))
    pulled = CheckpointBucket(bucket_id).pull(newest, tmp_path / "pulled")
    assert digests(pulled) == digests(tmp_path / "out" / newest)


@pytest.mark.slow
def test_a_push_in_the_background_outlives_the_main_program(hub, bucket_id, tmp_path):
    program = f"""
from tests.training import tiny_trainer
trainer = tiny_trainer({str(tmp_path / "out")!r}, bucket_id={bucket_id!r})
trainer.push_to_bucket(blocking=False)
"""
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=2, skip=1)  # the first one asks for the right to write
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in root_files(bucket_id), done.stderr
    assert not re.search("failed|Traceback", done.stderr)


def test_train_returns_after_the_last_checkpoint_is_committed(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.5, times=None)
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2"]
    assert not list((tmp_path / "out").glob("_bucket/outbox/*")), "nothing is left to do"
