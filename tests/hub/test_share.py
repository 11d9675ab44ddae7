"""Disks of their own get what their ranks read of a checkpoint, and none of that is taken for all of it."""

import pytest

from tests.hub.checkpoints import downloaded, write_checkpoint
from tests.training import digests
from transformers_buckets import BrokenCheckpointError, CheckpointBucket, resume
from transformers_buckets.bucket.files import list_files, measure
from transformers_buckets.bucket.manifest import Manifest
from transformers_buckets.cli import main


RANKS = 4
PARTITION = 100_000  # bytes


def own(rank: int) -> set[str]:
    return {f"rng_state_{rank}.pth", f"global_step2/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"}


def partitions(**sizes: int) -> dict[str, int]:
    """Names as ZeRO-2 gives them."""
    return {
        "model.safetensors": 50_000,
        "latest": 10,
        "global_step2/mp_rank_00_model_states.pt": 50_000,
        **{path: PARTITION if "/" in path else 1000 for rank in range(RANKS) for path in own(rank)},
        **sizes,
    }


@pytest.fixture
def origin(bucket_id, tmp_path):
    folder = write_checkpoint(tmp_path / "origin" / "checkpoint-2", sizes=partitions())
    run = CheckpointBucket(bucket_id)
    run.create()
    run.root.refresh(run.push(folder, manifest=Manifest(2, measure(list_files(folder)), world_size=RANKS)))
    return folder


@pytest.fixture
def run(bucket_id, origin):
    return CheckpointBucket(bucket_id)


@pytest.fixture
def here(tmp_path):
    return tmp_path / "here"


def share(origin, *ranks: int) -> dict[str, str]:
    others = set().union(*(own(rank) for rank in set(range(RANKS)) - set(ranks)))
    return {path: digest for path, digest in digests(origin).items() if path not in others}


def test_partitions_of_other_disks_stay_in_the_bucket(run, origin, here, hub):
    checkpoint = run.find("checkpoint-2")
    hub.clear_requests()

    pulled = run.pull(checkpoint, here, ranks=[2], world_size=RANKS)

    assert digests(pulled) == share(origin, 2)
    left = (RANKS - 1) * PARTITION
    assert checkpoint.manifest.size - 1.05 * left < downloaded(hub) < checkpoint.manifest.size - 0.95 * left


def test_the_same_ranks_use_it_without_a_byte(run, here, hub):
    checkpoint = run.find("checkpoint-2")
    run.pull(checkpoint, here, ranks=[2], world_size=RANKS)
    hub.clear_requests()

    run.pull(checkpoint, here, ranks=[2], world_size=RANKS)

    assert not hub.requests()


@pytest.mark.parametrize(
    ("ranks", "world_size", "gets", "travelling"),
    [([2, 3], RANKS, [2, 3], 1), ([3], RANKS, [3], 1), ([2], 2, range(RANKS), 3), (None, None, range(RANKS), 3)],
    ids=["one more", "another", "another number", "all"],
)
def test_other_ranks_get_what_they_read_and_only_that_travels(
    run, origin, here, hub, ranks, world_size, gets, travelling
):
    run.pull("checkpoint-2", here, ranks=[2], world_size=RANKS)
    checkpoint = run.find("checkpoint-2")
    hub.clear_requests()

    assert digests(run.pull(checkpoint, here, ranks=ranks, world_size=world_size)) == share(origin, *gets)

    assert downloaded(hub) < (travelling + 0.5) * PARTITION
    assert not (here / "_bucket" / "set_aside").exists() or not list((here / "_bucket" / "set_aside").iterdir())


def test_a_wrong_byte_in_it_is_noticed(run, origin, here):
    weights = run.pull("checkpoint-2", here, ranks=[2], world_size=RANKS) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)

    assert digests(run.pull("checkpoint-2", here, ranks=[2], world_size=RANKS)) == share(origin, 2)


def test_what_broke_off_for_other_ranks_is_none_of_it(run, origin, here):
    arriving = here / "_bucket" / "downloads" / "checkpoint-2"
    stray = write_checkpoint(arriving, seed="other", sizes={path: 100 for path in own(1)})

    assert digests(run.pull("checkpoint-2", here, ranks=[2], world_size=RANKS)) == share(origin, 2)
    assert not stray.exists()


def test_it_cannot_be_pushed_for_a_whole_one(run, here, tmp_path, capsys):
    pulled = run.pull("checkpoint-2", here, ranks=[2], world_size=RANKS)

    with pytest.raises(BrokenCheckpointError, match="rng_state_0.pth is missing"):
        run.push(pulled, "checkpoint-3")
    assert main(["push", str(pulled), f"{run.address}-other", "--yes"]) != 0
    assert [checkpoint.name for checkpoint in run.committed()] == ["checkpoint-2"]


@pytest.mark.parametrize("bucket_is_gone", [False, True])
def test_a_run_does_not_go_on_from_it(run, api, here, messages, bucket_is_gone):
    run.pull("checkpoint-2", here, ranks=[0], world_size=RANKS)
    if bucket_is_gone:
        run.delete(["checkpoint-2"])

    source = resume.newest(run, str(here))

    assert source is None if bucket_is_gone else source.local is None
    if bucket_is_gone:
        assert [line for line in messages() if "here/checkpoint-2 is passed over" in line and "is missing" in line]


def test_nor_without_its_manifest(run, here):
    """As plain transformers would leave it: the last rank tells that others are missing, the first one as well."""
    for rank in (0, RANKS - 1):
        pulled = run.pull("checkpoint-2", here / str(rank), ranks=[rank], world_size=RANKS)
        (pulled / "checkpoint_manifest.json").unlink()

        assert resume.newest(None, str(here / str(rank))) is None


def test_the_best_checkpoint_comes_with_its_partitions_alone(run, origin, here, tmp_path):
    second = write_checkpoint(tmp_path / "origin" / "checkpoint-4", best="checkpoint-2", sizes=partitions())
    run.push(second, manifest=Manifest(4, measure(list_files(second)), world_size=RANKS))

    source = resume.Source(address=run.address, checkpoint=run.find("checkpoint-4"))
    resume.pull(source, str(here), None, with_best=True, ranks=[1], world_size=RANKS)

    assert digests(here / "checkpoint-2") == share(origin, 1)
    assert digests(here / "checkpoint-4") == share(second, 1)
