"""Nodes that do not share a disk; every test looks at the same launch."""

import pytest

from tests.distributed.launch import Launch
from tests.training import digests
from transformers_buckets import CheckpointBucket


BUCKET_ID = "demo/two-nodes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two-nodes")


@pytest.fixture(scope="module")
def launch(session_hub, folder):
    session_hub.clear_faults()
    session_hub.clear_requests()
    launch = Launch("two_nodes.py", folder, BUCKET=BUCKET_ID)
    launch.requests = session_hub.requests()
    assert launch.status == 0, launch.output
    return launch


def test_every_node_gets_the_checkpoint_on_its_own_disk(launch, hub, folder, tmp_path):
    committed = digests(CheckpointBucket(BUCKET_ID).pull("checkpoint-2", tmp_path))

    assert launch.each("path") == [str(folder / f"disk-{rank}" / "second" / "checkpoint-2") for rank in range(2)]
    for path in launch.each("path"):
        assert digests(path).items() >= committed.items()


def test_every_node_downloads_once(launch, hub):
    weights = CheckpointBucket(BUCKET_ID).find("checkpoint-2").manifest.files["model.safetensors"]

    assert sum(request.path.endswith(f"/reconstructions/{weights.xet_hash}") for request in launch.requests) == 2


def test_all_nodes_end_with_the_weights_of_a_run_that_was_not_interrupted(launch):
    assert launch.each("resumed") == launch.each("whole")
    assert len(set(launch.each("resumed"))) == 1


def test_files_on_other_disks_are_not_left_out_in_silence(launch):
    assert "rng_state_1.pth" not in CheckpointBucket(BUCKET_ID).latest().manifest.files
    assert "do not share" in launch.output
