"""Nodes that do not share a disk; all tests of one set of nodes look at the same launch."""

import functools
import re

import pytest

from tests.distributed.launch import Launch
from tests.distributed.test_sharded import NEEDS_DEEPSPEED, OF_RANK_ONE
from tests.training import digests
from transformers_buckets import CheckpointBucket


# Which rank is on which disk, and what is trained there, in one process after the other.
NODES = {
    "two": ("0,1", "ddp,fsdp-sharded"),
    "two-fsdp": ("0,1", "partitions,fsdp-full,fsdp-each-node"),
    "each-node": ("0,1", "each-node"),
    "one-shared": ("0,0,1", "ddp"),
    "pairs": ("0,0,1,1", "fsdp-sharded"),
    "two-zero": ("0,1", "zero-2,zero-3"),
}
MARKS = {"two": (), "two-zero": NEEDS_DEEPSPEED}


def cases(*names: str):
    """Those layouts, or all, on all nodes where they are tried."""
    return pytest.mark.parametrize(
        ("nodes", "layout"),
        [
            pytest.param(nodes, layout, marks=MARKS.get(nodes, (pytest.mark.slow, pytest.mark.timeout(900))))
            for nodes, (_, layouts) in NODES.items()
            for layout in layouts.split(",")
            if layout in names or not names
        ],
    )


every_case = cases()


@pytest.fixture(scope="module")
def launches(session_hub, tmp_path_factory):
    @functools.cache
    def launch(nodes: str) -> Launch:
        folder = tmp_path_factory.mktemp(nodes)
        disks, layouts = NODES[nodes]
        session_hub.clear_faults()
        session_hub.clear_requests()
        ranks = disks.count(",") + 1
        launch = Launch("two_nodes.py", folder, ranks, BUCKET=f"demo/{nodes}", DISKS=disks, LAYOUTS=layouts)
        assert launch.status == 0, launch.output
        launch.folder, launch.requests = folder, session_hub.requests()
        return launch

    return launch


@pytest.fixture
def launch(launches, nodes):
    return launches(nodes)


def owner(path: str) -> int | None:
    """The rank that alone reads a file."""
    match = re.search(r"(?:rng_state|zero_pp_rank)_(\d+)", path)
    return int(match[1]) if match else None


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
def test_every_node_gets_what_its_ranks_read(launch, hub, nodes, layout, tmp_path):
    committed = digests(run_of(nodes, layout).pull("checkpoint-2", tmp_path))

    for disk in set(NODES[nodes][0].split(",")):
        others = {rank for rank, own in enumerate(NODES[nodes][0].split(",")) if own != disk}
        wanted = {path: digest for path, digest in committed.items() if owner(path) not in others}
        assert digests(launch.folder / f"disk-{disk}" / f"{layout}-second" / "checkpoint-2") == wanted


@cases("partitions", "zero-2", "zero-3")
def test_a_partition_travels_to_one_node_alone(launch, hub, nodes, layout):
    files = run_of(nodes, layout).find("checkpoint-2").manifest.files
    asked_for = [request.path.rsplit("/", 1)[-1] for request in launch.requests if "/reconstructions/" in request.path]

    partitions = {path: asked_for.count(record.xet_hash) for path, record in files.items() if "zero_pp_rank" in path}
    assert set(map(owner, partitions)) == {0, 1}
    assert set(partitions.values()) == {1}


@every_case
def test_nothing_is_left_to_send(launch, nodes, layout):
    assert not list(launch.folder.glob(f"disk-*/{layout}-first/_bucket/outbox/*"))
