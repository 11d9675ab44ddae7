"""The ways to shard a training that are tried here, and what its weights are, put together."""

import random
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from transformers_buckets import Trainer


def _fsdp(state_dict_type: str) -> dict:
    config = {
        "version": 2,
        "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
        "state_dict_type": state_dict_type,
    }
    return {"fsdp": True, "fsdp_config": config}


def _zero(stage: int, bf16: bool = False) -> dict:
    config = {
        "zero_optimization": {"stage": stage},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "torch_adam": True}},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "bf16": {"enabled": bf16},
    }
    return {"use_cpu": False, "bf16": bf16, "deepspeed": config}


FSDP = {"fsdp-sharded": _fsdp("SHARDED_STATE_DICT"), "fsdp-full": _fsdp("FULL_STATE_DICT")}
DEEPSPEED = {"zero-2": _zero(2), "zero-3": _zero(3), "zero-3-bf16": _zero(3, bf16=True)}


PARTITION = 300_000  # bytes


class CountingTrainer(Trainer):
    """Knows how many steps it has trained itself, and from which weights on."""

    trained = 0
    began_with = None

    def training_step(self, *args, **kwargs):
        self.began_with = self.began_with or full_weights(self)
        self.trained += 1
        return super().training_step(*args, **kwargs)


class PartitionedTrainer(CountingTrainer):
    """Saves and reads what DeepSpeed names so, without DeepSpeed: a partition for each rank, and a pointer to the folder."""

    def _save_optimizer_and_scheduler(self, output_dir):
        super()._save_optimizer_and_scheduler(output_dir)
        partition = self._partition(output_dir, self.state.global_step)
        partition.parent.mkdir(exist_ok=True)
        partition.write_bytes(self._content())

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            assert self._partition(checkpoint, self.state.global_step).read_bytes() == self._content()

    def _partition(self, checkpoint: str, step: int) -> Path:
        name = f"zero_pp_rank_{self.args.process_index}_mp_rank_00_optim_states.pt"
        return Path(checkpoint, f"global_step{step}", name)

    def _content(self) -> bytes:
        return random.Random(f"{self.args.process_index} {self.state.global_step}").randbytes(PARTITION)


def full_weights(trainer) -> dict[str, torch.Tensor]:
    """All weights of a training whose state is sharded. All ranks must call this."""
    if trainer.deepspeed is None:
        weights = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        return {name: (t.full_tensor() if isinstance(t, DTensor) else t).clone() for name, t in weights.items()}
    from deepspeed import zero

    with zero.GatheredParameters(list(trainer.deepspeed.module.parameters())):
        return {name: tensor.clone() for name, tensor in trainer.deepspeed.module.state_dict().items()}


def losses(trainer) -> list[float]:
    """The loss of every step that a training knows of."""
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]
