"""On any number of ranks, for each way to shard: resume what another number has saved, and save what others resume."""

import copy
import os
from contextlib import suppress

from tests.distributed.fail_together import told
from tests.distributed.launch import Report
from tests.distributed.on_cpu import enable_deepspeed, enable_fsdp
from tests.distributed.sharded import DEEPSPEED, FSDP, CountingTrainer
from tests.distributed.trainers import fingerprint, two_rank_trainer
from transformers_buckets import BucketError


def universal(arguments: dict) -> dict:
    """Arguments under which DeepSpeed loads a converted checkpoint."""
    arguments = copy.deepcopy(arguments)
    arguments["deepspeed"]["checkpoint"] = {"load_universal": True}
    return arguments


if __name__ == "__main__":
    report = Report()
    engine, source, target = os.environ["ENGINE"], os.environ["SOURCE"], os.environ.get("TARGET")
    {"fsdp": enable_fsdp, "deepspeed": enable_deepspeed}[engine]()
    for layout, arguments in {"fsdp": FSDP, "deepspeed": DEEPSPEED}[engine].items():
        if target:
            two_rank_trainer(f"{layout}-first", bucket_id=f"{target}-{layout}", **arguments).train()
        address = f"hf://buckets/{source}-{layout}/checkpoint-2"
        if "UNIVERSAL" in os.environ:
            arguments = universal(arguments)
            address = f"{layout}/checkpoint-2"  # the folder that was converted, as the error said
        resumed = two_rank_trainer(layout, CountingTrainer, push_to_bucket=False, **arguments)
        with suppress(BucketError), told(report, f"{layout} refused"):
            resumed.train(resume_from_checkpoint=address)
        report.tell(f"{layout} trained", resumed.trained)
        report.tell(f"{layout} began with", resumed.began_with and fingerprint(resumed.began_with))
