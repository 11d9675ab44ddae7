"""On two nodes: saves that come faster than pushes, a SIGTERM that reaches one node, a push that fails on one node."""

import os
import signal
import threading

import torch
from transformers import TrainerCallback
from transformers.trainer_jit_checkpoint import JITCheckpointCallback

from tests.distributed.disks import move_to_own_disk
from tests.distributed.launch import Report
from tests.distributed.sharded import CountingTrainer
from tests.distributed.trainers import fingerprint, two_rank_trainer
from transformers_buckets import CheckpointBucket
from transformers_buckets.saving import lane


lane.RETRY_DELAYS = (0.01, 0.01)


class HeldBack(TrainerCallback):
    """What this node sends has to wait until training is over."""

    def __init__(self):
        self.is_over, push_part = threading.Event(), CheckpointBucket.push_part

        def wait_and_push(*args, **kwargs):
            self.is_over.wait()
            return push_part(*args, **kwargs)

        CheckpointBucket.push_part = wait_and_push

    def on_train_end(self, args, state, control, **kwargs):
        self.is_over.set()


class Terminated(TrainerCallback):
    """A scheduler takes this node away."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)


class CountedGathers(TrainerCallback):
    """How often the ranks tell each other something between the first step and the last."""

    def __init__(self):
        self.count, self.is_training, gather = 0, False, torch.distributed.all_gather_object

        def counted(*args, **kwargs):
            self.count += self.is_training
            return gather(*args, **kwargs)

        torch.distributed.all_gather_object = counted

    def on_step_begin(self, args, state, control, **kwargs):
        self.is_training = True

    def on_train_end(self, args, state, control, **kwargs):
        self.is_training = False


def tell_of(
    report: Report, story: str, callback: TrainerCallback | None = None, *others: TrainerCallback, **arguments
) -> None:
    bucket = f"{os.environ['BUCKET']}-{story}"
    callbacks = [*others, callback] if callback and os.environ["RANK"] == "1" else [*others]
    trainer = two_rank_trainer(story, CountingTrainer, bucket_id=bucket, callbacks=callbacks, **arguments)
    for listening in trainer.callback_handler.callbacks:
        if isinstance(listening, JITCheckpointCallback):
            listening.jit_manager.kill_wait = 0
    trainer.train()
    report.tell(story, {"step": trainer.state.global_step, "preempted": trainer.preempted})
    report.tell(f"{story} weights", fingerprint(trainer.model.state_dict()))


if __name__ == "__main__":
    report = Report()
    move_to_own_disk()
    tell_of(report, "failing")
    tell_of(report, "terminated", Terminated(), max_steps=2000, save_steps=5000, enable_jit_checkpoint=True)
    # The last one: from here on what rank 1 sends is held back.
    held_back = HeldBack() if os.environ["RANK"] == "1" else None
    gathers = CountedGathers()
    tell_of(report, "held-back", held_back, gathers, max_steps=12, hub_always_push=False)
    report.tell("gathers", gathers.count)
