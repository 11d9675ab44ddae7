"""On two ranks: whatever fails on one of them ends both, with a reason."""

import os
from contextlib import contextmanager, suppress

from tests.distributed.launch import Report
from tests.distributed.trainers import two_rank_trainer
from transformers_buckets import BucketError


@contextmanager
def told(report, what):
    """Tell an error, with its notes, and let it pass."""
    try:
        yield
    except Exception as error:
        report.tell(what, "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]))
        raise


if __name__ == "__main__":
    report = Report()
    bucket = f"hf://buckets/{os.environ['BUCKET']}"

    with suppress(BucketError), told(report, "no token"):
        two_rank_trainer("out", bucket_id="demo/no-token", hub_token="hf_unknown")
    trainer = two_rank_trainer("out", push_to_bucket=False)
    with suppress(BucketError), told(report, "no such step"):
        trainer.train(resume_from_checkpoint=f"{bucket}/checkpoint-7")
    with suppress(BucketError), told(report, "broken"):
        trainer.train(resume_from_checkpoint=f"{bucket}/checkpoint-1")
    with told(report, "corrupt"):  # nobody catches this one
        trainer.train(resume_from_checkpoint=f"{bucket}/checkpoint-2")
