"""On ranks with disks of their own, for each of `LAYOUTS`: train into a bucket, then resume on empty disks."""

import os

from tests.distributed.disks import move_to_own_disk
from tests.distributed.launch import Report
from tests.distributed.on_cpu import enable_deepspeed, enable_fsdp
from tests.distributed.sharded import DEEPSPEED, FSDP, CountingTrainer, PartitionedTrainer, full_weights, losses
from tests.distributed.trainers import fingerprint, two_rank_trainer


LAYOUTS = {
    "ddp": {},
    "partitions": {},
    "each-node": {"save_on_each_node": True},
    **FSDP,
    "fsdp-each-node": {**FSDP["fsdp-sharded"], "save_on_each_node": True},
    **DEEPSPEED,
}


def tell_of(report: Report, layout: str) -> None:
    bucket = f"{os.environ['BUCKET']}-{layout}"
    trainer_class = PartitionedTrainer if layout == "partitions" else CountingTrainer
    trainer = two_rank_trainer(f"{layout}-first", trainer_class, bucket_id=bucket, **LAYOUTS[layout])
    trainer.train()
    report.tell(f"{layout} whole", [losses(trainer), fingerprint(full_weights(trainer))])

    resumed = two_rank_trainer(f"{layout}-second", trainer_class, push_to_bucket=False, **LAYOUTS[layout])
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket}/checkpoint-2")
    report.tell(f"{layout} trained", resumed.trained)
    report.tell(f"{layout} resumed", [losses(resumed), fingerprint(full_weights(resumed))])


if __name__ == "__main__":
    report = Report()
    move_to_own_disk()
    layouts = os.environ["LAYOUTS"].split(",")
    {"fsdp": enable_fsdp, "zero": enable_deepspeed}.get(layouts[-1].split("-")[0], lambda: None)()
    for layout in layouts:
        tell_of(report, layout)
