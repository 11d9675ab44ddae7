"""Two nodes with disks of their own: one of them dies, is replaced, or cannot send."""

import shutil

import pytest

from tests.distributed.launch import Launch, torchrun
from tests.distributed.test_engines import FRESH_STORE, committed


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def go_on(bucket_id: str, folder, restarts: int = 0, **environment: str) -> Launch:
    command = torchrun(2, "--max-restarts", str(restarts))
    return Launch("go_on.py", folder, 2, command, BUCKET=bucket_id, DISKS="0,1", **FRESH_STORE, **environment)


def test_what_a_crash_left_on_both_disks_is_delivered(hub, bucket_id, tmp_path, weights):
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=100, skip=2)

    launch = go_on(bucket_id, tmp_path, restarts=1, KILLED="yes")

    assert launch.status == 0, launch.output
    assert "Pushing checkpoint-2, which an earlier process left" in launch.output
    assert launch.each("trained") == [2, 2]
    assert launch.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_what_is_left_on_one_disk_alone_is_dropped_and_told(hub, bucket_id, tmp_path, weights):
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=100, skip=2)
    assert go_on(bucket_id, tmp_path, KILLED="yes").status != 0
    hub.clear_faults()
    assert committed(bucket_id) == []
    shutil.rmtree(tmp_path / "disk-1")

    replaced = go_on(bucket_id, tmp_path)

    assert replaced.status == 0, replaced.output
    assert "lacks what was on another disk" in replaced.output
    assert replaced.each("trained") == [4, 4]
    assert replaced.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_a_node_that_cannot_send_is_named_on_all_ranks_and_nothing_is_committed(hub, bucket_id, tmp_path):
    launch = go_on(bucket_id, tmp_path, LOCKED_OUT="1")

    assert launch.status != 0
    on_zero, on_one = launch.each("error")
    assert on_zero.startswith("BucketPushError: ")
    assert "lacks the part of" in on_zero and "(rank 1)" in on_zero and "401" in on_zero
    assert on_one.startswith("BucketPushError: rank 0 failed: ") and "(rank 1)" in on_one
    assert committed(bucket_id) == []
