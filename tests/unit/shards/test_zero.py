"""Shards of ZeRO-3 written by hand, in sizes that do not come out even; the real ones are in `tests/distributed`."""

import os

import pytest
import torch

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.shards.zero import ZeroShards


RANKS = 3
WEIGHTS = {"embed": torch.rand(5, 2), "norm": torch.rand(1), "head": torch.rand(7, 3)}
FROZEN = {"teacher": torch.rand(4, 2).bfloat16()}
BUFFERS = {"position": torch.arange(3)}


def part(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """What DeepSpeed gives to a rank: equal parts, the last one filled up."""
    flat = tensor.flatten()
    length = -(-flat.numel() // RANKS)
    padded = torch.cat([flat, torch.zeros(length * RANKS - flat.numel(), dtype=flat.dtype)])
    return padded[rank * length : (rank + 1) * length].clone()


def files(rank: int, groups: tuple[int, ...]) -> tuple[dict, dict]:
    """The model file and the optimizer file of a rank. `groups` is where the optimizer cuts what it holds."""
    flat = torch.cat([part(tensor, rank) for tensor in WEIGHTS.values()])
    model = {
        "module": {**{name: torch.empty(0) for name in WEIGHTS}, **BUFFERS},
        "buffer_names": list(BUFFERS),
        "param_shapes": [{name: tensor.shape for name, tensor in WEIGHTS.items()}],
        "frozen_param_shapes": {name: tensor.shape for name, tensor in FROZEN.items()},
        "frozen_param_fragments": {name: part(tensor, rank) for name, tensor in FROZEN.items()},
        "shared_params": {"tied": "embed"},
    }
    optimizer = {"partition_count": RANKS, "fp32_flat_groups": [group.clone() for group in flat.tensor_split(groups)]}
    return model, {"optimizer_state_dict": optimizer}


def write(folder, groups: tuple[int, ...] = ()):
    for rank in range(RANKS):
        for kind, content in zip(("model", "optim"), files(rank, groups), strict=True):
            torch.save(content, folder / f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt")
    return folder


@pytest.mark.parametrize("groups", [(), (4,), (2, 6), (1, 2, 3, 4, 5)])
def test_the_parts_of_all_ranks_make_the_weights(tmp_path, groups):
    shards = ZeroShards(write(tmp_path, groups))
    read = shards.read(shards.outline)

    expected = {**WEIGHTS, **FROZEN, **BUFFERS, "tied": WEIGHTS["embed"]}
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor), name
        assert shards.outline[name].shape == tensor.shape and shards.outline[name].dtype == tensor.dtype


@pytest.mark.parametrize("kind", ["model", "optim"])
def test_a_missing_rank_is_told(tmp_path, kind):
    (write(tmp_path) / f"zero_pp_rank_1_mp_rank_00_{kind}_states.pt").unlink()

    with pytest.raises(BrokenCheckpointError, match="those of 3 ranks"):
        ZeroShards(tmp_path)


def test_parts_that_are_too_short_are_told(tmp_path):
    model, optimizer = files(2, ())
    optimizer["optimizer_state_dict"]["fp32_flat_groups"][0] = torch.zeros(3)
    torch.save(optimizer, write(tmp_path) / "zero_pp_rank_2_mp_rank_00_optim_states.pt")

    with pytest.raises(BrokenCheckpointError, match="number of weights"):
        ZeroShards(tmp_path)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_what_a_hostile_pickle_would_run_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, _ = files(0, ())
    torch.save({**model, "more": Malicious()}, write(tmp_path) / "zero_pp_rank_0_mp_rank_00_model_states.pt")

    with pytest.raises(BrokenCheckpointError, match="cannot be read"):
        ZeroShards(tmp_path)
    assert not (tmp_path / "pwned").exists()
