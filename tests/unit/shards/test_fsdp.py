"""Shards of `torch.distributed.checkpoint`, from hands that may be hostile."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
import torch.distributed.checkpoint as dcp

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.shards.fsdp import FsdpShards, read_metadata


@pytest.fixture
def folder(tmp_path):
    weights = {"embed.weight": torch.rand(3, 5), "scale": torch.ones(7, dtype=torch.bfloat16)}
    dcp.save({"model": weights}, storage_writer=dcp.FileSystemWriter(tmp_path), no_dist=True)
    return tmp_path


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_what_a_hostile_pickle_would_run_is_not_run(folder):
    metadata = read_metadata(folder)
    metadata.planner_data["model.scale"] = Malicious(f"touch {folder}/pwned")
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))

    with pytest.raises(BrokenCheckpointError, match=r"would run (posix|nt)\.system"):
        FsdpShards(folder)
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("outside", ["../secret", "/etc/passwd", ".."])
def test_nothing_is_read_outside_the_folder(folder, outside):
    metadata = read_metadata(folder)
    metadata.storage_data = {
        index: replace(info, relative_path=outside) for index, info in metadata.storage_data.items()
    }
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))

    with pytest.raises(BrokenCheckpointError, match="which is not in its folder"):
        FsdpShards(folder)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({}), pickle.dumps(torch.Size([1]))])
def test_what_is_no_metadata_is_told(folder, content):
    (folder / ".metadata").write_bytes(content)

    with pytest.raises(BrokenCheckpointError, match=".metadata"):
        FsdpShards(folder)


def test_some_weights_are_read_without_the_others(folder):
    shards = FsdpShards(folder)

    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in shards.outline.items()} == {
        "embed.weight": (torch.float32, (3, 5)),
        "scale": (torch.bfloat16, (7,)),
    }
    (read,) = shards.read(["scale"]).values()
    assert torch.equal(read, torch.ones(7, dtype=torch.bfloat16))
