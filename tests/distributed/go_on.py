"""On two ranks: a training that goes on by itself wherever it is started. Told to, rank 1 is killed, or has a full disk."""

import errno
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import Trainer, TrainerCallback

from tests.distributed.disks import move_to_own_disk
from tests.distributed.fail_together import told
from tests.distributed.launch import Report
from tests.distributed.sharded import CountingTrainer
from tests.distributed.trainers import fingerprint, two_rank_trainer
from transformers_buckets.saving import lane, outbox, parts


lane.RETRY_DELAYS = (0.01, 0.01)
parts.BEAT, parts.SILENCE = 0.5, 3.0


class KilledOnce(TrainerCallback):
    """Rank 1 dies after the first save, and leaves a sign that it did."""

    def on_step_begin(self, args, state, control, **kwargs):
        if (
            state.global_step == 2
            and args.process_index == 1
            and "KILLED" in os.environ
            and not Path("killed").exists()
        ):
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(*args, **kwargs) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def go_on(callbacks: Sequence[TrainerCallback] = (), prepare: Callable[[Trainer], Trainer] = lambda it: it) -> None:
    """Train to the end, from wherever the run stands, and report."""
    report = Report()
    if "DISKS" in os.environ:
        move_to_own_disk()
    callbacks = [*callbacks, KilledOnce()]
    arguments = {"max_steps": int(os.environ.get("STEPS", 4)), "bucket_timeout": float(os.environ.get("TIMEOUT", 600))}
    if os.environ["RANK"] == "1":
        arguments |= {"hub_token": "hf_locked_out"} if "LOCKED_OUT" in os.environ else {}
        if os.environ.get("FULL") == "at the copy":
            outbox._take = fill_disk
        if os.environ.get("FULL") == "at the save":
            CountingTrainer._save_rng_state = fill_disk
    trainer = prepare(
        two_rank_trainer("out", CountingTrainer, bucket_id=os.environ["BUCKET"], callbacks=callbacks, **arguments)
    )
    with told(report, "error"):
        trainer.train(resume_from_checkpoint=os.environ.get("RESUME", "auto"))
    report.tell("trained", trainer.trained)
    if trainer.is_world_process_zero():  # as many scripts have it
        trainer.save_model()
    report.tell("weights", fingerprint(trainer.model.state_dict()))


if __name__ == "__main__":
    go_on()
