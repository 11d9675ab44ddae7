"""Nodes that do not share a disk; all tests of one set of nodes look at the same launch."""

import functools

import pytest

from tests.distributed.launch import Launch
from tests.distributed.test_sharded import NEEDS_DEEPSPEED, OF_RANK_ONE
from tests.training import digests
from transformers_buckets import CheckpointBucket


# Which rank is on which disk, and what is trained there, in one process after the other.
NODES = {
    "two": ("0,1", "ddp,fsdp-sharded"),
    "two-fsdp": ("0,1", "fsdp-full,fsdp-each-node"),
    "each-node": ("0,1", "each-node"),
    "one-shared": ("0,0,1", "ddp"),
    "pairs": ("0,0,1,1", "fsdp-sharded"),
    "two-zero": ("0,1", "zero-2,zero-3"),
}
MARKS = {"two": (), "two-zero": NEEDS_DEEPSPEED}
every_case = pytest.mark.parametrize(
    ("nodes", "layout"),
    [
        pytest.param(nodes, layout, marks=MARKS.get(nodes, (pytest.mark.slow, pytest.mark.timeout(900))))
        for nodes, (_, layouts) in NODES.items()
        for layout in layouts.split(",")
    ],
)


@pytest.fixture(scope="module")
def launches(session_hub, tmp_path_factory):
    @functools.cache
    def launch(nodes: str) -> Launch:
        folder = tmp_path_factory.mktemp(nodes)
        disks, layouts = NODES[nodes]
        session_hub.clear_faults()
        ranks = disks.count(",") + 1
        launch = Launch("two_nodes.py", folder, ranks, BUCKET=f"demo/{nodes}", DISKS=disks, LAYOUTS=layouts)
        assert launch.status == 0, launch.output
        launch.folder = folder
        return launch

    return launch


@pytest.fixture
def launch(launches, nodes):
    return launches(nodes)


def run_of(nodes: str, layout: str) -> CheckpointBucket:
    return CheckpointBucket(f"demo/{nodes}-{layout}")


@every_case
def test_every_committed_checkpoint_has_the_files_of_every_rank(launch, hub, nodes, layout):
    committed = run_of(nodes, layout).committed()
    ranks = range(len(launch.reports))

    assert [checkpoint.name for checkpoint in committed] == ["checkpoint-2", "checkpoint-4"]
    for checkpoint in committed:
        assert checkpoint.manifest.files.keys() >= {f"rng_state_{rank}.pth" for rank in ranks}
    assert committed[-1].manifest.files.keys() >= OF_RANK_ONE.get(layout, set())


@every_case
def test_empty_disks_go_on_as_if_nothing_had_happened(launch, nodes, layout):
    ranks = len(launch.reports)

    assert launch.each(f"{layout} trained") == [2] * ranks  # of four
    assert launch.each(f"{layout} resumed") == launch.each(f"{layout} whole")


@every_case
def test_every_node_gets_the_checkpoint_on_its_own_disk(launch, hub, nodes, layout, tmp_path):
    committed = digests(run_of(nodes, layout).pull("checkpoint-2", tmp_path))

    for disk in set(NODES[nodes][0].split(",")):
        assert (
            digests(launch.folder / f"disk-{disk}" / f"{layout}-second" / "checkpoint-2").items() >= committed.items()
        )


@every_case
def test_nothing_is_left_to_send(launch, nodes, layout):
    assert not list(launch.folder.glob(f"disk-*/{layout}-first/_bucket/outbox/*"))
