"""What some ranks read of a checkpoint, told by the names of its files."""

import pytest

from transformers_buckets.bucket.manifest import FileRecord, Manifest
from transformers_buckets.bucket.share import share_of


COMMON = {"trainer_state.json", "latest", "global_step4/mp_rank_00_model_states.pt", "optimizer_0/__1_0.distcp"}


def manifest(*paths: str, world_size: int | None = 2) -> Manifest:
    return Manifest(4, {path: FileRecord(1, "ab") for path in COMMON | set(paths)}, world_size)


def share(saved: Manifest, *ranks: int, world_size: int = 2) -> set[str]:
    return set(share_of(saved, ranks, world_size).files) - COMMON


@pytest.mark.parametrize(
    "name",
    [
        "rng_state_{}.pth",
        "global_step4/zero_pp_rank_{}_mp_rank_00_optim_states.pt",
        "global_step4/bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt",
        "global_step4/zero_pp_rank_{}_mp_rank_00_model_states.pt",
    ],
)
def test_each_rank_reads_its_own_and_what_is_common(name):
    own = [name.format(rank) for rank in range(12)]
    saved = manifest(*own, world_size=12)

    for rank in range(12):
        assert set(share_of(saved, [rank], 12).files) == COMMON | {own[rank]}
    assert share(saved, 3, 11, world_size=12) == {own[3], own[11]}
    assert share_of(saved, None, 12) == saved


def test_another_number_of_processes_may_read_anything():
    own = {"rng_state_0.pth", "rng_state_1.pth"}

    assert share(manifest(*own), 0, world_size=3) == own
    assert share(manifest(*own, world_size=None), 0) == own
    assert share(manifest(*own), 0) == {"rng_state_0.pth"}


def test_partitions_of_a_group_that_is_not_all_ranks_are_for_all():
    """With tensor parallelism DeepSpeed counts in the groups that hold the same part of the model."""
    names = "global_step4/zero_pp_rank_{}_mp_rank_{:02}_optim_states.pt"
    own = {names.format(rank, part) for rank in range(2) for part in range(2)}
    random = {f"rng_state_{rank}.pth" for rank in range(4)}

    assert share(manifest(*own, *random, world_size=4), 2, world_size=4) == own | {"rng_state_2.pth"}


def test_names_that_only_look_alike_are_for_all():
    others = {"my_rng_state_1.pth", "rng_state_1.pth.bak", "zero_pp_rank_1_mp_rank_00_optim_states.pt.tmp"}

    assert share(manifest("rng_state_0.pth", "rng_state_1.pth", *others), 0) == {"rng_state_0.pth", *others}
