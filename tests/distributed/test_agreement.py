"""Two nodes with disks of their own: what happens to a checkpoint is decided once, for all disks. One launch."""

import pytest

from tests.distributed.launch import Launch
from tests.hub.contents import committed
from transformers_buckets.bucket.files import local_checkpoints


BUCKET = "demo/agreement"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
all_stories = pytest.mark.parametrize("story", ["failing", "terminated", "held-back"])


@pytest.fixture(scope="module")
def launch(session_hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    session_hub.clear_faults()
    session_hub.clear_requests()
    session_hub.fault(f"POST /api/buckets/{BUCKET}-failing/batch", client="origin/node-1", status=403)
    launch = Launch("agree.py", folder, BUCKET=BUCKET, DISKS="0,1")
    assert launch.status == 0, launch.output
    launch.folder, launch.requests = folder, session_hub.requests("POST /api/buckets/.*/batch")
    return launch


def test_saves_that_come_faster_than_pushes_skip_the_same_on_all_disks(launch, hub):
    # One is on its way, three may wait.
    assert committed(f"{BUCKET}-held-back") == ["checkpoint-2", "checkpoint-8", "checkpoint-10", "checkpoint-12"]
    for skipped in ("checkpoint-4", "checkpoint-6"):
        assert launch.output.count(f"Skipped {skipped}: ") == 1


def test_a_save_takes_one_gather_and_a_wait_for_all_ranks(launch):
    saves = 6
    assert (
        launch.each("gathers") == [2 * saves] * 2
    )  # the wait is one with an answer: has somebody taken the run over?


def test_a_sigterm_that_reaches_one_node_ends_the_training_of_all_at_the_same_step(launch, hub):
    on_zero, on_one = launch.each("terminated")

    assert on_zero == on_one
    assert on_zero["preempted"] and 3 <= on_zero["step"] < 2000
    assert committed(f"{BUCKET}-terminated") == [f"checkpoint-{on_zero['step']}"]


def test_a_push_that_fails_on_one_node_is_tried_again_by_all(launch, hub):
    assert "Pushing checkpoint-2 to hf://buckets/demo/agreement-failing failed" in launch.output
    assert "(rank 1): HfHubHTTPError" in launch.output
    assert committed(f"{BUCKET}-failing") == ["checkpoint-2", "checkpoint-4"]


@all_stories
def test_all_ranks_end_with_the_same_weights_and_nothing_left_to_send(launch, story):
    assert len(set(launch.each(f"{story} weights"))) == 1
    assert not list(launch.folder.glob(f"disk-*/{story}/_bucket/outbox/*"))


@all_stories
def test_every_disk_knows_the_same_checkpoints(launch, story):
    on_zero, on_one = (
        {
            folder.name: manifest and manifest.push_id
            for folder, manifest in local_checkpoints(launch.folder / disk / story)
        }
        for disk in ("disk-0", "disk-1")
    )
    assert None not in on_zero.values()
    assert on_one == on_zero


@all_stories
def test_a_node_makes_the_same_number_of_requests_for_every_checkpoint(launch, hub, story):
    of_node_one = [
        request
        for request in launch.requests
        if f"{BUCKET}-{story}/" in request.path and "origin/node-1" in request.user_agent and request.status == 200
    ]
    assert len(of_node_one) == len(committed(f"{BUCKET}-{story}"))
