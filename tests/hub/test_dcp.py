"""`torch.distributed.checkpoint` with a bucket: one rank saves and loads."""

import warnings

import pytest
import torch
import torch.distributed.checkpoint as dcp

from transformers_buckets import BucketStorageReader, BucketStorageWriter


MEGABYTE = 262144  # numbers in a tensor


@pytest.fixture(autouse=True)
def no_warning_that_it_is_one_process():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


@pytest.fixture
def address(bucket_id) -> str:
    return f"hf://buckets/{bucket_id}/expt-1/checkpoint-5"


def state(seed: int = 0, size: int = MEGABYTE) -> dict:
    """Two tensors of a megabyte, a small one, and what is no tensor."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(size, generator=generator) for name in ("first", "second")}
    return {"model": {**tensors, "bias": torch.arange(seed, seed + 3)}, "step": seed, "name": "of a user"}


def blank() -> dict:
    """A state of the same shape to load into."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in state()["model"].items()}
    return {"model": zeros, "step": -1, "name": ""}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one["model"][name], other["model"][name]) for name in other["model"]) and all(
        one[name] == other[name] for name in other if name != "model"
    )


def save(address: str, what: dict, **options) -> None:
    dcp.save(what, storage_writer=BucketStorageWriter(address, **options))


def loaded(address: str) -> dict:
    into = blank()
    dcp.load(into, storage_reader=BucketStorageReader(address))
    return into


def test_what_is_saved_is_loaded(hub, address):
    save(address, state(3))
    assert same(loaded(address), state(3))
