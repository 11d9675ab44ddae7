"""On two ranks: a model and its optimizer, sharded with FSDP, go to a bucket and come from it, without a Trainer."""

import hashlib
import os
from contextlib import suppress

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException, DefaultSavePlanner
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.distributed.launch import Report
from transformers_buckets import BucketStorageReader, BucketStorageWriter


class Training:
    """A model and its optimizer after a few steps; sharded if there is a process group."""

    def __init__(self, seed: int, steps: int = 2):
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.LayerNorm(96), torch.nn.Linear(96, 3))
        if dist.is_initialized():
            fully_shard(self.model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        for _ in range(steps):
            self.model(torch.ones(4, 64)).sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def state(self) -> dict:
        """What a checkpoint holds."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer}

    def load(self, address: str) -> None:
        """Go on from a checkpoint."""
        state = self.state()
        dcp.load(state, storage_reader=BucketStorageReader(address))
        set_state_dict(
            self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
        )

    def digest(self) -> str:
        """Of every number of model and optimizer, however they are sharded."""
        found = hashlib.sha256()
        state = self.state()
        moments = {f"{name}.{key}": m for name, all_ in state["optimizer"]["state"].items() for key, m in all_.items()}
        for name, tensor in sorted({**state["model"], **moments}.items()):
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            found.update(name.encode() + whole.numpy().tobytes())
        return found.hexdigest()


class FailsOnRankOne(DefaultSavePlanner):
    """Cannot give what is to be saved, on one rank."""

    def resolve_data(self, write_item):
        if dist.get_rank() == 1:
            raise ValueError("not on this rank")
        return super().resolve_data(write_item)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    report, run = Report(), f"hf://buckets/{os.environ['BUCKET']}"

    elsewhere = Training(seed=0, steps=0)
    elsewhere.load(f"{run}/checkpoint-1")
    report.tell("loaded what one rank has saved", elsewhere.digest())

    training = Training(seed=2)
    dcp.save(training.state(), storage_writer=BucketStorageWriter(f"{run}/checkpoint-2"))
    report.tell("saved", training.digest())

    again = Training(seed=0, steps=0)
    again.load(f"{run}/checkpoint-2")
    report.tell("loaded", again.digest())

    training = Training(seed=3)
    saved = dcp.async_save(
        training.state(),
        storage_writer=BucketStorageWriter(f"{run}/checkpoint-3"),
        process_group=dist.new_group(),  # not that of the training, which goes on meanwhile
    )
    report.tell("saved beside the training", training.digest())
    saved.result()

    with suppress(CheckpointException):
        writer = BucketStorageWriter(f"{run}/checkpoint-4")
        dcp.save(training.state(), storage_writer=writer, planner=FailsOnRankOne())
        report.tell("nothing failed", True)
    dist.destroy_process_group()
