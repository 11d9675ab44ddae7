"""On two ranks: a training that goes on by itself wherever it is started. Told to, rank 1 is killed the first time."""

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
from transformers_buckets.saving import lane


lane.RETRY_DELAYS = (0.01, 0.01)


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


def go_on(callbacks: Sequence[TrainerCallback] = (), prepare: Callable[[Trainer], Trainer] = lambda it: it) -> None:
    """Train to the end, from wherever the run stands, and report."""
    report = Report()
    if "DISKS" in os.environ:
        move_to_own_disk()
    callbacks = [*callbacks, KilledOnce()]
    arguments = {"hub_token": "hf_locked_out"} if os.environ.get("LOCKED_OUT") == os.environ["RANK"] else {}
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
