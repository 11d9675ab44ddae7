"""`async_save` with the state of FSDP2 on two ranks: the same checkpoints, written while training goes on."""

import pickle
from pathlib import Path

import pytest

from tests.distributed.launch import Launch
from tests.distributed.sharded import FSDP
from tests.training import digests
from transformers_buckets import CheckpointBucket


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SCRIPT, BUCKET = "save_shards_later.py", "demo/shards-later"
layouts = pytest.mark.parametrize("layout", FSDP)
# They name the run, or tell the time.
_OTHERS = {"training_args.bin", "trainer_state.json"}


@pytest.fixture(scope="module")
def launch(session_hub, tmp_path_factory):
    session_hub.clear_faults()
    launch = Launch(SCRIPT, tmp_path_factory.mktemp("shards-later"), BUCKET=BUCKET)
    assert launch.status == 0, launch.output
    return launch


def contents(folder: Path) -> dict[str, object]:
    """The files of a checkpoint. Each save gives itself an id, which torch notes in `.metadata`."""
    found = {}
    for path, digest in digests(folder).items():
        if path.endswith(".metadata"):
            metadata = pickle.loads((folder / path).read_bytes())
            metadata.storage_meta = None
            found[path] = metadata
        elif path not in _OTHERS:
            found[path] = digest
    return found


@layouts
@pytest.mark.parametrize("step", [2, 4])
def test_what_is_committed_is_what_an_ordinary_save_has(launch, hub, tmp_path, layout, step):
    later = CheckpointBucket(f"{BUCKET}-{layout}").pull(f"checkpoint-{step}", tmp_path / "later")
    usual = CheckpointBucket(f"{BUCKET}-{layout}-usual").pull(f"checkpoint-{step}", tmp_path / "usual")

    assert digests(later).keys() == digests(usual).keys()
    assert contents(later) == contents(usual)


@layouts
def test_an_empty_disk_goes_on_as_if_nothing_had_happened(launch, layout):
    assert launch.each(f"{layout} resumed") == launch.each(f"{layout} usual")


def test_training_waited_for_no_file(launch):
    assert "async_save" not in launch.output


def test_a_rank_that_is_killed_in_mid_write_leaves_nothing_that_would_be_gone_on_from(
    launch, hub, bucket_id, tmp_path
):
    killed = Launch(SCRIPT, tmp_path, BUCKET=bucket_id, WHAT="killed")

    assert killed.status != 0
    assert not list(tmp_path.glob("out/checkpoint-*"))
    written = {file.name for file in tmp_path.glob("out/_bucket/saving/checkpoint-2/checkpoint-2/*/*")}
    assert "__0_0.distcp" in written and ".metadata" not in written  # half of it was there
    assert CheckpointBucket(bucket_id).checkpoints() == []

    again = Launch(SCRIPT, tmp_path, BUCKET=bucket_id, WHAT="")
    assert again.status == 0, again.output
    assert again.each("trained") == [4, 4]
    assert again.each("weights") == [weights for _, weights in launch.each("fsdp-sharded usual")]
    assert [checkpoint.name for checkpoint in CheckpointBucket(bucket_id).committed()] == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    assert not list(tmp_path.glob("out/_bucket/saving/*"))


def test_without_a_disk_it_cannot_be_and_that_is_told(hub, bucket_id, tmp_path):
    launch = Launch(SCRIPT, tmp_path, BUCKET=bucket_id, WHAT="no disk")

    assert launch.status == 0, launch.output
    told = "keep_local=False has no effect, checkpoints are saved to local disk: the state is sharded."
    assert launch.output.count(told) == 1
    assert (tmp_path / "out" / "checkpoint-4").is_dir()
    assert len(CheckpointBucket(bucket_id).committed()) == 2


def test_a_rank_that_cannot_write_is_named_on_all_ranks_and_training_goes_on(hub, bucket_id, tmp_path):
    failed = Launch(SCRIPT, tmp_path, BUCKET=bucket_id, WHAT="full disk")

    assert failed.status != 0
    on_zero, on_one = failed.each("error")
    assert "Not everything reached" in on_zero
    assert "rank 1 could not write its part of checkpoint-2: OSError: [Errno 28] No space left on device" in on_zero
    assert "No space left on device" in on_one
    assert not list(tmp_path.glob("out/checkpoint-*"))
    assert CheckpointBucket(bucket_id).checkpoints() == []
