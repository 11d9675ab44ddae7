"""On two ranks that take themselves for two nodes with a disk each: the same relative path is another folder for each."""

import os


os.environ.update(LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")

from tests.distributed.launch import Report  # noqa: E402
from tests.distributed.trainers import fingerprint, two_rank_trainer  # noqa: E402


if __name__ == "__main__":
    report = Report()
    disk = f"disk-{os.environ['RANK']}"
    os.mkdir(disk)
    os.chdir(disk)
    trainer = two_rank_trainer("first", bucket_id=os.environ["BUCKET"])
    trainer.train()
    report.tell("whole", fingerprint(trainer.model.state_dict()))

    resumed = two_rank_trainer("second", push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{os.environ['BUCKET']}/checkpoint-2")
    report.tell("resumed", fingerprint(resumed.model.state_dict()))
    report.tell("path", resumed.resumed_from)
