"""On two ranks: a training that goes on by itself wherever it is started. Told to, rank 1 is killed the first time."""

import os
import signal

from transformers import TrainerCallback

from tests.distributed.launch import Report
from tests.distributed.sharded import CountingTrainer
from tests.distributed.trainers import fingerprint, two_rank_trainer


class Killed(TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        if args.process_index == 1 and state.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    report = Report()
    is_killed = "KILLED" in os.environ and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    trainer = two_rank_trainer(
        "out", CountingTrainer, bucket_id=os.environ["BUCKET"], callbacks=[Killed()] if is_killed else None
    )
    trainer.train(resume_from_checkpoint=os.environ.get("RESUME", "auto"))
    report.tell("trained", trainer.trained)
    report.tell("weights", fingerprint(trainer.model.state_dict()))
