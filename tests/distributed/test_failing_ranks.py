"""What fails on rank zero ends both ranks, with a reason, and without a hang."""

import pytest

from tests.distributed.launch import Launch
from tests.hub.checkpoints import write_checkpoint
from transformers_buckets import CheckpointBucket


BUCKET_ID = "demo/failing-ranks"


@pytest.fixture(scope="module")
def launch(session_hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("failing-ranks")
    session_hub.clear_faults()
    run = CheckpointBucket(BUCKET_ID)
    run.create()
    for name in ("checkpoint-1", "checkpoint-2"):
        session_hub.clear_requests()
        run.push(write_checkpoint(folder / name, seed=BUCKET_ID))  # content that no other test has sent
    data = session_hub.requests("POST /v1/xorbs/")[0]  # the manifest comes later
    session_hub.fault(f"GET /xorbs/{data.path.rsplit('/', 1)[-1]}", corrupt=True, times=None)
    run.api.batch_bucket_files(BUCKET_ID, add=[(b"torn", "checkpoint-1/model.safetensors")])
    launch = Launch("fail_together.py", folder, BUCKET=BUCKET_ID)
    session_hub.clear_faults()
    return launch


@pytest.mark.parametrize(
    ("what", "error", "reason"),
    [
        ("no token", "BucketAccessError", "bucket_id='hf://buckets/demo/no-token': "),
        ("no such step", "CheckpointNotFoundError", f"hf://buckets/{BUCKET_ID} has no checkpoint-7"),
        ("broken", "BrokenCheckpointError", f"hf://buckets/{BUCKET_ID}/checkpoint-1 is broken: model.safetensors"),
        ("corrupt", "BrokenCheckpointError", f"hf://buckets/{BUCKET_ID}/checkpoint-2 did not arrive as it was"),
    ],
)
def test_both_ranks_learn_what_went_wrong(launch, what, error, reason):
    on_zero, on_one = launch.each(what)

    assert on_zero.startswith(f"{error}: {reason}"), launch.output
    assert on_one.startswith(f"BucketError: rank 0 failed: {error}: {reason}")


def test_an_error_ends_the_launch(launch):
    assert launch.status != 0
