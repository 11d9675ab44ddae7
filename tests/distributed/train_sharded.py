"""On two ranks, for each way to shard: train without a bucket, train into one, resume from it on an empty disk."""

import os

from safetensors.torch import save_file

from tests.distributed.launch import Report
from tests.distributed.on_cpu import enable_deepspeed, enable_fsdp
from tests.distributed.sharded import DEEPSPEED, FSDP, CountingTrainer, full_weights, losses
from tests.distributed.trainers import fingerprint, two_rank_trainer


def tell_of(report, layout, arguments):
    bucket = f"{os.environ['BUCKET']}-{layout}"
    whole = two_rank_trainer(f"{layout}-whole", CountingTrainer, push_to_bucket=False, **arguments)
    whole.train()
    report.tell(f"{layout} whole", [losses(whole), fingerprint(full_weights(whole))])

    first = two_rank_trainer(f"{layout}-first", CountingTrainer, bucket_id=bucket, **arguments)
    first.train()
    weights = full_weights(first)
    if first.is_world_process_zero():
        save_file(weights, f"{layout}.safetensors")

    resumed = two_rank_trainer(f"{layout}-second", CountingTrainer, push_to_bucket=False, **arguments)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket}/checkpoint-2")
    report.tell(f"{layout} resumed", [losses(resumed), fingerprint(full_weights(resumed))])
    report.tell(f"{layout} trained", resumed.trained)


if __name__ == "__main__":
    report = Report()
    engine = os.environ["ENGINE"]
    {"fsdp": enable_fsdp, "deepspeed": enable_deepspeed}[engine]()
    for layout, arguments in {"fsdp": FSDP, "deepspeed": DEEPSPEED}[engine].items():
        tell_of(report, layout, arguments)
