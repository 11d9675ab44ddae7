"""Ways of saving that are known to write where they are told to, so that it may be elsewhere, and later."""

import torch
from transformers.training_args import ParallelMode


_SAVING_METHODS = (
    "_save_checkpoint",
    "save_model",
    "_save",
    "_save_optimizer_and_scheduler",
    "_save_scaler",
    "_save_rng_state",
    "_get_output_dir",
)
# They write where they are told to, and read nothing back. Of others nobody knows.
_KNOWN = {"transformers", "trl", "sentence_transformers", "peft"}


def why_not_staged(trainer) -> str | None:
    """
    Why checkpoints of a trainer are saved as usual; `None` if they need not be.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer, with its model.
    """
    args = trainer.args
    if trainer.is_deepspeed_enabled:
        return "DeepSpeed saves in its own way"
    if trainer.is_fsdp_enabled and trainer.accelerator.state.fsdp_plugin.fsdp_version != 2:
        return "FSDP is that of version 1"
    if not trainer.is_fsdp_enabled and _is_sharded(trainer.model):
        return "the state is sharded"
    if args.parallel_mode not in (ParallelMode.NOT_PARALLEL, ParallelMode.NOT_DISTRIBUTED, ParallelMode.DISTRIBUTED):
        return f"{args.parallel_mode} saves in its own way"
    if args.save_on_each_node and args.world_size > 1:
        return "save_on_each_node is set"
    for method in _SAVING_METHODS:
        if owner := _unknown_owner(type(trainer), method):
            return f"{owner} has its own {method}"
    pushing = next(base for base in type(trainer).__mro__ if "_push_from_checkpoint" in vars(base))
    if args.push_to_hub and not _is_ours(pushing):  # it would look for files that are not there yet
        return f"{pushing.__name__} prepares the pushes to the model repo"
    model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    for thing in (model, trainer.processing_class):
        is_replaced = "save_pretrained" in getattr(thing, "__dict__", ())
        if owner := type(thing).__name__ if is_replaced else _unknown_owner(type(thing), "save_pretrained"):
            return f"{owner} has its own save_pretrained"
    return None


def _is_sharded(model: torch.nn.Module) -> bool:
    if not torch.distributed.is_available():
        return False
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def _unknown_owner(kind: type, method: str) -> str | None:
    """Name of a class that a method comes from and whose saves are not known."""
    owners = (base for base in kind.__mro__ if method in vars(base) and not _is_ours(base))
    return next((base.__name__ for base in owners if _library(base) not in _KNOWN), None)


def _is_ours(base: type) -> bool:
    return _library(base) == __name__.partition(".")[0]


def _library(base: type) -> str:
    return base.__module__.partition(".")[0]
