"""On two ranks, FSDP2: save as usual and with `async_save`, whose writers are held back until training has gone on.

Told to, rank 1 is killed, or cannot write, while the shards of a checkpoint are being written; or no disk shall see them.
"""

import os
import signal
import threading
import time
from pathlib import Path

from transformers import TrainerCallback

from tests.distributed.fail_together import told
from tests.distributed.launch import Report
from tests.distributed.on_cpu import enable_fsdp
from tests.distributed.sharded import FSDP, CountingTrainer, full_weights, losses
from tests.distributed.trainers import fingerprint, two_rank_trainer
from transformers_buckets.saving.held_shards import HeldShards
from transformers_buckets.saving.snapshot_writer import SnapshotWriter


class Held(TrainerCallback):
    """Writers do nothing before the end of step 3."""

    def __init__(self):
        self.go_on = threading.Event()
        write = SnapshotWriter._write

        def late(*args):
            assert self.go_on.wait(60)
            write(*args)

        SnapshotWriter._write = late

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            self.go_on.set()


class InMidWrite(TrainerCallback):
    """Something happens to rank 1 at step 3, when its shards of step 2 are half written, and those of rank 0 are there."""

    def __init__(self, what):
        write, self.is_writing = HeldShards.write, threading.Event()
        self.is_killed = what == "killed"

        def write_some(held):
            if os.environ["RANK"] == "0":
                return write(held)
            (held.path / "__1_0.distcp").write_bytes(b"half")
            self.is_writing.set()
            if self.is_killed:
                threading.Event().wait()
            raise OSError(28, "No space left on device")

        HeldShards.write = write_some

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3 and args.process_index == 1 and self.is_killed:
            assert self.is_writing.wait(60)
            while len(list(Path("out").rglob("__0_0.distcp"))) < 2:  # those of rank 0
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)


def tell_of(report: Report, layout: str) -> None:
    bucket = f"{os.environ['BUCKET']}-{layout}"
    usual = two_rank_trainer(f"{layout}-usual", CountingTrainer, bucket_id=f"{bucket}-usual", **FSDP[layout])
    usual.train()
    report.tell(f"{layout} usual", [losses(usual), fingerprint(full_weights(usual))])

    arguments = {"async_save": True, "callbacks": [Held()], **FSDP[layout]}
    two_rank_trainer(f"{layout}-later", CountingTrainer, bucket_id=bucket, **arguments).train()

    resumed = two_rank_trainer(f"{layout}-resumed", CountingTrainer, push_to_bucket=False, **FSDP[layout])
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket}/checkpoint-2")
    report.tell(f"{layout} resumed", [losses(resumed), fingerprint(full_weights(resumed))])


def go_on(report: Report, what: str | None) -> None:
    flags = {"keep_local": False} if what == "no disk" else {"async_save": True}
    callbacks = [InMidWrite(what)] if what in ("killed", "full disk") else []
    trainer = two_rank_trainer(
        "out", CountingTrainer, bucket_id=os.environ["BUCKET"], callbacks=callbacks, **flags, **FSDP["fsdp-sharded"]
    )
    with told(report, "error"):
        trainer.train(resume_from_checkpoint="auto")
    report.tell("trained", trainer.trained)
    report.tell("weights", fingerprint(full_weights(trainer)))


if __name__ == "__main__":
    report = Report()
    enable_fsdp()
    if "WHAT" in os.environ:
        go_on(report, os.environ["WHAT"])
    else:
        for layout in FSDP:
            tell_of(report, layout)
