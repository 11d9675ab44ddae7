"""On two ranks: train without a bucket, train into one, resume from it on an empty disk; plain DDP, then sharded."""

import os
from datetime import timedelta

import torch

from tests.distributed.launch import Report
from tests.distributed.trainers import LateTrainer, ShardedTrainer, fingerprint, two_rank_trainer


# Seconds that a collective may take. The Hub is held up for longer at the end of the first training.
TIMEOUT = 10


def tell_of(report, bucket, trainer_class):
    whole = two_rank_trainer(f"{bucket}-whole", trainer_class, push_to_bucket=False)
    whole.train()
    report.tell(f"{bucket} whole", fingerprint(whole.model))

    two_rank_trainer(f"{bucket}-first", trainer_class, bucket_id=os.environ[bucket]).train()

    resumed = two_rank_trainer(f"{bucket}-second", trainer_class, push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{os.environ[bucket]}/checkpoint-2")
    report.tell(f"{bucket} resumed", fingerprint(resumed.model))
    report.tell(f"{bucket} path", resumed.resumed_from)


if __name__ == "__main__":
    # `TrainingArguments(ddp_timeout=...)` has no effect on CPU.
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
    report = Report()
    tell_of(report, "DDP", LateTrainer)
    tell_of(report, "SHARDED", ShardedTrainer)
