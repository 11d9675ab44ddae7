"""Ctrl+C and SIGTERM, as a user and a scheduler send them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import tiny_trainer
from transformers_buckets import BucketPushError
from transformers_buckets.saving import waiting


BATCH = "POST .*/batch"
WAITING = """
from tests.hub.callbacks import At
from tests.training import tiny_trainer
from transformers_buckets.saving import waiting

waiting.FIRST_NEWS = 0.2
trainer = tiny_trainer({out!r}, bucket_id={bucket_id!r})
{first}
# The run is the training's own by now: what is not answered from here on are pushes.
trainer.add_callback(At(on_train_begin=lambda _: (print("ready", flush=True), input())))
trainer.train()
print("not reached")
"""


@pytest.fixture
def program(hub, bucket_id, tmp_path):
    """A program whose pushes are not answered."""
    processes = []

    def start(first: str = "") -> subprocess.Popen:
        source = WAITING.format(out=str(tmp_path / "out"), bucket_id=bucket_id, first=first)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-u", "-c", source],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        assert processes[0].stdout.readline() == "ready\n"
        hub.clear_requests()
        hub.hold(BATCH)
        processes[0].stdin.write("\n")
        processes[0].stdin.flush()
        hub.wait_for(BATCH)
        return processes[0]

    yield start
    hub.release()
    for process in processes:
        process.kill()
        process.wait()


def read_until(stream, text: str) -> str:
    lines = ""
    while text not in lines:
        line = stream.readline()
        assert line, lines
        lines += line
    return lines


@pytest.mark.slow
def test_the_first_interrupt_of_the_last_wait_says_what_is_waited_for_and_the_second_leaves(
    hub, bucket_id, tmp_path, program
):
    training = program()
    read_until(training.stderr, "Waiting for the push to")

    training.send_signal(signal.SIGINT)
    told = read_until(training.stderr, "nterrupt again to leave it in")
    assert "Interrupted while waiting" in told and "checkpoint-6" in told
    assert "600 s without progress (bucket_timeout)" in told
    begun = time.monotonic()
    training.send_signal(signal.SIGINT)
    out, _ = training.communicate(timeout=30)

    assert time.monotonic() - begun < 5
    assert training.returncode != 0 and "not reached" not in out
    hub.release()
    restarted = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    restarted.train(resume_from_checkpoint=True)
    assert "checkpoint-6" in committed(bucket_id)


@pytest.mark.slow
def test_an_interrupt_of_the_training_says_what_is_waited_for_and_the_second_leaves(program):
    training = program("trainer.args.max_steps = 10**6")

    training.send_signal(signal.SIGINT)
    told = read_until(training.stderr, "Training broke off (KeyboardInterrupt)")
    assert "checkpoint-" in told and "600 s without progress (bucket_timeout)" in told
    begun = time.monotonic()
    training.send_signal(signal.SIGINT)
    training.communicate(timeout=30)

    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("event", ["on_step_begin", "on_step_end"])
def test_a_sigterm_at_the_last_step_meets_a_training_that_is_finished(bucket_id, tmp_path, sigterm, messages, event):
    step = 5 if event == "on_step_begin" else 6
    arguments = dict(bucket_id=bucket_id, enable_jit_checkpoint=True)
    trainer = tiny_trainer(tmp_path / "out", callbacks=[At(**{event: sigterm.at(step)})], **arguments)
    sigterm.is_awaited_by(trainer)
    trainer.train()

    assert not trainer.preempted
    assert messages()[-1] == "A SIGTERM came, but training is finished at step 6; checkpoint-6 is committed."
    assert committed(bucket_id)[-1] == "checkpoint-6"

    tiny_trainer(tmp_path / "out", **arguments).train(resume_from_checkpoint="auto")

    assert any("Training was finished at step 6; nothing to do." in line for line in messages())


def test_a_sigterm_in_the_last_wait_does_not_end_it(hub, bucket_id, tmp_path, sigterm, messages, monkeypatch):
    """Nothing of it is on local disk."""
    monkeypatch.setattr(waiting, "FIRST_NEWS", 0.05)

    def send():
        while not any(line.startswith("Waiting for the push to") for line in messages()):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        while not any("it goes on waiting" in line for line in messages()):
            pass
        hub.release()

    sender = threading.Thread(target=send, daemon=True)
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        save_steps=6,
        enable_jit_checkpoint=True,
        keep_local=False,
        callbacks=[At(on_train_begin=lambda _: (hub.hold(BATCH), sender.start()))],
    )
    trainer.train()

    assert not trainer.preempted
    assert messages()[-1] == "A SIGTERM came, but training is finished at step 6; checkpoint-6 is committed."
    assert committed(bucket_id) == ["checkpoint-6"]


def test_a_training_that_was_preempted_and_cannot_push_says_both(hub, bucket_id, tmp_path, sigterm):
    away = At(on_train_begin=lambda _: hub.fault(BATCH, status=403, times=None), on_step_begin=sigterm.at(3))
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, enable_jit_checkpoint=True, callbacks=[away])
    sigterm.is_awaited_by(trainer)
    with pytest.raises(BucketPushError, match="^Stopped at step . of 6; not finished. Not everything reached"):
        trainer.train()
    assert trainer.preempted


def test_a_training_that_was_preempted_can_be_told_from_a_finished_one(bucket_id, tmp_path, sigterm, messages):
    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, enable_jit_checkpoint=True, callbacks=[At(on_step_begin=sigterm.at(3))]
    )
    sigterm.is_awaited_by(trainer)
    trainer.train()

    step = trainer.state.global_step
    assert trainer.preempted
    assert messages()[-1] == f"Stopped at step {step} of 6; checkpoint-{step} is committed; not finished."

    trainer.remove_callback(At)
    trainer.train(resume_from_checkpoint=True)

    assert not trainer.preempted
    assert committed(bucket_id)[-1] == "checkpoint-6"
