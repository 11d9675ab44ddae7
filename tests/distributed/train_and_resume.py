"""On two ranks: train without a bucket, train into one, resume from it on an empty disk; DDP, sharded, and `async_save`."""

import os
from datetime import timedelta
from types import MappingProxyType

import torch

from tests.distributed.launch import Report
from tests.distributed.trainers import LateTrainer, RemindingTrainer, ShardedTrainer, fingerprint, two_rank_trainer
from tests.training import tiny_dataset


# Seconds that a collective may take. The Hub is held up for longer at the end of the first training.
TIMEOUT = 10


def tell_of(report, bucket, trainer_class, flags=MappingProxyType({}), **arguments):
    whole = two_rank_trainer(f"{bucket}-whole", trainer_class, push_to_bucket=False, **arguments)
    whole.train()
    report.tell(f"{bucket} whole", fingerprint(whole.model.state_dict()))

    first = two_rank_trainer(f"{bucket}-first", trainer_class, bucket_id=os.environ[bucket], **flags, **arguments)
    first.train()
    report.tell(f"{bucket} first", fingerprint(first.model.state_dict()))

    report.tell(f"{bucket} files", sorted(os.listdir(f"{bucket}-first")))

    resumed = two_rank_trainer(f"{bucket}-second", trainer_class, push_to_bucket=False, **arguments)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{os.environ[bucket]}/checkpoint-2")
    report.tell(f"{bucket} resumed", fingerprint(resumed.model.state_dict()))
    report.tell(f"{bucket} path", resumed.resumed_from)


if __name__ == "__main__":
    # `TrainingArguments(ddp_timeout=...)` has no effect on CPU.
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
    report = Report()
    tell_of(report, "DDP", LateTrainer)
    tell_of(report, "SHARDED", ShardedTrainer)
    # With a best checkpoint to look for, the ranks wait for each other in the middle of a save.
    best = dict(
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
    )
    # Other weights than those of the first training: files of the same content are one.
    tell_of(report, "ASYNC", RemindingTrainer, dict(async_save=True), learning_rate=1e-3, **best)
    best["learning_rate"] = 2e-3
    tell_of(report, "MEMORY", RemindingTrainer, dict(keep_local=False), **best)
    again = two_rank_trainer(
        "MEMORY-third", RemindingTrainer, bucket_id=os.environ["MEMORY"], keep_local=False, **best
    )
    again.train(resume_from_checkpoint=f"hf://buckets/{os.environ['MEMORY']}/checkpoint-2")
    report.tell("MEMORY in memory", fingerprint(again.model.state_dict()))
    report.tell("MEMORY place", again.resumed_from)
