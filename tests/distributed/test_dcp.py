"""`torch.distributed.checkpoint` on two ranks; every test looks at the same launch."""

import pytest
import torch.distributed.checkpoint as dcp

from tests.distributed.launch import Launch
from tests.distributed.save_and_load_dcp import Training
from transformers_buckets import BucketStorageWriter, CheckpointBucket


BUCKET = "demo/two-ranks-dcp"
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture(scope="module")
def alone() -> Training:
    return Training(seed=1)


@pytest.fixture(scope="module")
def launch(session_hub, alone, tmp_path_factory):
    dcp.save(alone.state(), storage_writer=BucketStorageWriter(f"hf://buckets/{BUCKET}/checkpoint-1"))
    session_hub.clear_faults()
    session_hub.clear_requests()
    launch = Launch("save_and_load_dcp.py", tmp_path_factory.mktemp("two-ranks-dcp"), BUCKET=BUCKET)
    launch.requests = session_hub.requests()
    assert launch.status == 0, launch.output
    return launch


@pytest.fixture
def run(launch, hub):
    return CheckpointBucket(BUCKET)


def test_two_ranks_load_what_one_has_saved(launch, alone):
    assert launch.each("loaded what one rank has saved") == [alone.digest()] * 2


@pytest.mark.parametrize(("name", "saved"), [("checkpoint-2", "saved"), ("checkpoint-3", "saved beside the training")])
def test_one_rank_loads_what_two_have_saved(launch, run, name, saved):
    training = Training(seed=0, steps=0)
    training.load(f"{run.address}/{name}")

    assert [training.digest()] * 2 == launch.each(saved)


def test_two_ranks_load_what_two_have_saved(launch):
    assert launch.each("loaded") == launch.each("saved")


def test_the_shards_of_both_ranks_are_committed(run):
    manifest = run.find("checkpoint-2").manifest

    assert set(manifest.files) == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    assert manifest.world_size == 2


def test_nothing_is_committed_if_one_rank_fails(launch, run):
    assert launch.each("nothing failed") == [None, None]
    assert [checkpoint.name for checkpoint in run.checkpoints()] == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
