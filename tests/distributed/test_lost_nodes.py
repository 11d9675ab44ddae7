"""Two nodes with disks of their own: one of them dies, is replaced, is slow, cannot send, or has no room."""

import shutil
import sys

import pytest

from tests.distributed.launch import FRESH_STORE, Launch, torchrun
from tests.hub.contents import committed


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Nobody ends the others when one rank dies.
ALONE = [sys.executable, "-m", "tests.distributed.alone", "2"]
BATCH = "POST /api/buckets/{}/batch"


def go_on(bucket_id: str, folder, restarts: int = 0, launcher=None, **environment: str) -> Launch:
    command = launcher or torchrun(2, "--max-restarts", str(restarts))
    return Launch("go_on.py", folder, 2, command, BUCKET=bucket_id, DISKS="0,1", **FRESH_STORE, **environment)


def test_what_a_crash_left_on_both_disks_is_delivered(hub, bucket_id, tmp_path, weights):
    hub.fault(BATCH.format(bucket_id), delay=100, skip=2)

    launch = go_on(bucket_id, tmp_path, restarts=1, KILLED="yes")

    assert launch.status == 0, launch.output
    assert "Pushing checkpoint-2, which an earlier process left" in launch.output
    assert launch.each("trained") == [2, 2]
    assert launch.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("disk-1", "lacks what was on another disk"),
        ("disk-0", "the run has gone on since, or another part of it is gone"),
    ],
)
def test_a_replaced_node_is_normal_and_what_is_left_on_one_disk_alone_is_dropped_and_told(
    hub, bucket_id, tmp_path, weights, lost, told
):
    hub.fault(BATCH.format(bucket_id), delay=100, skip=2)
    assert go_on(bucket_id, tmp_path, KILLED="yes").status != 0
    hub.clear_faults()
    assert committed(bucket_id) == []
    shutil.rmtree(tmp_path / lost)
    (tmp_path / "disk-0").mkdir(exist_ok=True)
    for disk in ("disk-0", "disk-1"):  # it was killed once
        (tmp_path / disk).mkdir(exist_ok=True)
        (tmp_path / disk / "killed").touch()

    replaced = go_on(bucket_id, tmp_path)

    assert replaced.status == 0, replaced.output
    assert told in replaced.output
    assert replaced.each("trained") == [4, 4]
    assert replaced.each("weights") == weights
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_what_the_disks_have_and_the_bucket_has_not_is_pushed_and_gone_on_from(hub, bucket_id, tmp_path):
    assert go_on(bucket_id, tmp_path, STEPS="2").status == 0
    elsewhere = f"{bucket_id}-elsewhere"

    again = go_on(elsewhere, tmp_path)

    assert again.status == 0, again.output
    assert "pushing it from all disks" in again.output
    assert again.each("trained") == [2, 2]
    assert len(set(again.each("weights"))) == 1
    assert committed(elsewhere) == ["checkpoint-2", "checkpoint-4"]


def test_a_node_that_dies_is_named_and_what_it_had_to_send_is_not_committed(hub, bucket_id, tmp_path):
    hub.fault(BATCH.format(bucket_id), client="origin/node-1", delay=100)

    launch = go_on(bucket_id, tmp_path, launcher=ALONE, KILLED="yes")

    assert launch.status == 2
    assert "(rank 1): nothing has been heard of it for 3 s" in launch.output
    if sys.version_info >= (3, 11):
        assert "(rank 1): nothing has been heard of it" in launch.reports[0]["error"]
    assert committed(bucket_id) == []


def test_a_slow_node_is_waited_for(hub, bucket_id, tmp_path, weights):
    hub.fault(BATCH.format(bucket_id), client="origin/node-1", delay=5, times=2)  # longer than a dead one

    launch = go_on(bucket_id, tmp_path)

    assert launch.each("weights") == weights, launch.output
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


def test_a_node_that_gets_no_further_is_given_up_and_named_on_all_ranks(hub, bucket_id, tmp_path):
    hub.fault(BATCH.format(bucket_id), client="origin/node-1", stall="before", times=None)

    launch = go_on(bucket_id, tmp_path, TIMEOUT="2")

    assert launch.status != 0
    for error in launch.each("error"):
        assert "BucketPushError: " in error
        assert "(rank 1)" in error and "bucket_timeout=2" in error
    assert committed(bucket_id) == []


def test_a_node_that_cannot_send_is_named_on_all_ranks_and_nothing_is_committed(hub, bucket_id, tmp_path):
    launch = go_on(bucket_id, tmp_path, LOCKED_OUT="1")

    assert launch.status != 0
    on_zero, on_one = launch.each("error")
    assert on_zero.startswith("BucketPushError: ")
    assert "lacks the part of" in on_zero and "(rank 1)" in on_zero and "401" in on_zero
    assert on_one.startswith("BucketPushError: rank 0 failed: ") and "(rank 1)" in on_one
    assert committed(bucket_id) == []


def test_a_disk_without_room_for_the_copy_is_named_on_all_ranks_and_training_goes_on(hub, bucket_id, tmp_path):
    launch = go_on(bucket_id, tmp_path, FULL="at the copy")

    assert launch.status != 0
    for error in launch.each("error"):
        assert "(rank 1): " in error and "No space left on device" in error
    assert "Training goes on." in launch.output
    assert committed(bucket_id) == []


def test_a_disk_without_room_for_the_save_ends_the_training_and_is_named_on_all_ranks(hub, bucket_id, tmp_path):
    launch = go_on(bucket_id, tmp_path, launcher=ALONE, FULL="at the save")

    assert launch.status == 2
    on_zero, on_one = launch.each("error")
    assert on_one.startswith("OSError: ") and "No space left on device" in on_one
    assert "Training broke off on" in launch.output and "(rank 1): OSError" in launch.output
    if sys.version_info >= (3, 11):
        assert "(rank 1): OSError" in on_zero and "No space left on device" in on_zero
    assert committed(bucket_id) == []
