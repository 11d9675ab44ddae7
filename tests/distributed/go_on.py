"""On two ranks: a training that goes on by itself wherever it is started. Told to, rank 1 is killed the first time."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import Trainer, TrainerCallback

from tests.distributed.launch import Report
from tests.distributed.sharded import CountingTrainer
from tests.distributed.trainers import fingerprint, two_rank_trainer


class KilledOnce(TrainerCallback):
    """Rank 1 dies right after a save, and leaves a sign that it did."""

    def on_save(self, args, state, control, **kwargs):
        if args.process_index == 1 and "KILLED" in os.environ and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def go_on(callbacks: Sequence[TrainerCallback] = (), prepare: Callable[[Trainer], Trainer] = lambda it: it) -> None:
    """Train to the end, from wherever the run stands, and report."""
    report = Report()
    callbacks = [*callbacks, KilledOnce()]
    trainer = prepare(two_rank_trainer("out", CountingTrainer, bucket_id=os.environ["BUCKET"], callbacks=callbacks))
    trainer.train(resume_from_checkpoint=os.environ.get("RESUME", "auto"))
    report.tell("trained", trainer.trained)
    report.tell("weights", fingerprint(trainer.model.state_dict()))


if __name__ == "__main__":
    go_on()
