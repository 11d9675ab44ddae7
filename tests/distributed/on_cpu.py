"""Sharded training on CPU ranks, through the real Trainer: Accelerate switches FSDP and DeepSpeed on for accelerators only.

Call one of these before the first `TrainingArguments` is made. FSDP is for `use_cpu=True`, DeepSpeed for arguments without it.
"""

import os

import transformers.training_args
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


def enable_fsdp() -> None:
    """CPU ranks count as ranks that may shard."""
    os.environ.setdefault("ACCELERATE_USE_FSDP", "true")
    os.environ.setdefault("FSDP_VERSION", "2")
    make = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        make(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        shared = AcceleratorState._shared_state
        if fsdp_plugin is not None and shared.get("distributed_type") == DistributedType.MULTI_CPU:
            shared.update(distributed_type=DistributedType.FSDP, fsdp_plugin=fsdp_plugin)
            # The next AcceleratorState() copies it from here, as it is on GPUs.
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = init


def enable_deepspeed() -> None:
    """DeepSpeed's processes are counted although there is no accelerator, and may train in bfloat16."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("ACCELERATE_USE_DEEPSPEED", "true")
    prepare = PartialState._prepare_backend

    def prepare_backend(self, *args, **kwargs):
        backend, kind = prepare(self, *args, **kwargs)
        return (backend, kind) if backend else ("gloo", DistributedType.MULTI_CPU)

    PartialState._prepare_backend = prepare_backend
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
