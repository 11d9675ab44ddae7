"""What starts processes for people: torchrun, `accelerate launch`, Ray. Each of them loses something, and goes on."""

import sys
from importlib.util import find_spec

import pytest

from tests.distributed.launch import FRESH_STORE, Launch, torchrun
from tests.hub.contents import committed


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# The flag says GPU, and starts processes whatever they compute on. `--cpu --num_processes 2` starts one.
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]


def test_torchrun_starts_a_killed_rank_again_and_the_run_goes_on_by_itself(hub, bucket_id, tmp_path, weights):
    # The push of checkpoint-2 does not live to see its end.
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=100, skip=2)

    restarting = torchrun(2, "--max-restarts", "1")
    launch = Launch("go_on.py", tmp_path, 2, restarting, BUCKET=bucket_id, KILLED="yes", **FRESH_STORE)

    assert launch.status == 0, launch.output
    assert "Pushing checkpoint-2, which an earlier process left" in launch.output
    assert launch.each("trained") == [2, 2]
    assert launch.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_accelerate_starts_two_cpu_processes_that_resume_on_an_empty_disk(hub, bucket_id, tmp_path, weights):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    first = Launch("go_on.py", tmp_path / "first", 2, ACCELERATE, BUCKET=bucket_id)
    assert first.each("weights") == weights, first.output

    address = f"hf://buckets/{bucket_id}/checkpoint-2"
    second = Launch("go_on.py", tmp_path / "second", 2, ACCELERATE, BUCKET=bucket_id, RESUME=address)

    assert second.each("trained") == [2, 2], second.output
    assert second.each("weights") == weights


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'ray[train]'")
def test_ray_starts_a_killed_worker_again_and_the_run_goes_on_by_itself(hub, bucket_id, tmp_path, weights):
    launch = Launch("go_on_in_ray.py", tmp_path, 2, [sys.executable], BUCKET=bucket_id, KILLED="yes")

    assert launch.status == 0, launch.output
    assert launch.each("trained") == [2, 2]
    assert launch.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    # What its callback costs: one more copy of every checkpoint, in Ray's storage.
    assert len(list((tmp_path / "ray" / "run").glob("checkpoint_*/checkpoint/model.safetensors"))) >= 1
