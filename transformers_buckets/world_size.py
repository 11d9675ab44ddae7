"""A training that goes on with another number of processes than its checkpoint was saved by."""

import logging
from pathlib import Path

from .bucket.errors import BucketError
from .bucket.files import read_manifest


logger = logging.getLogger(__name__)


def check_world_size(trainer, checkpoint: str | bool | None) -> None:
    """
    Say what another number of processes means, before the first step. All ranks come to the same result.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
        checkpoint (`str` or `bool`, *optional*):
            Where it goes on; what is no folder on local disk does not matter here.

    Raises:
        [`BucketError`]: If DeepSpeed saved the checkpoint and cannot load it on this number; names the ways out.
    """
    saved_by, world_size = _saved_by(checkpoint), trainer.args.world_size
    if saved_by in (None, world_size):
        return
    shards = next((file.parent for file in Path(checkpoint).glob("global_step*/*_optim_states.pt")), None)
    if shards and not _loads_universal(trainer):
        raise BucketError(
            f"{checkpoint} was saved by {saved_by} processes with DeepSpeed, which cannot load it on {world_size}. "
            f"Start {saved_by} processes. Or convert it for any number: python -m deepspeed.checkpoint.ds_to_universal "
            f"--input_folder {shards} --output_folder {shards}_universal --inject_missing_state; then resume from "
            f'{checkpoint} with "checkpoint": {{"load_universal": true}} in the DeepSpeed configuration.'
        )
    if trainer.is_world_process_zero():
        logger.warning(
            f"{checkpoint} was saved by {saved_by} processes and training goes on with {world_size}: weights and "
            "optimizer are those that were saved; the order of the data and random numbers are others from here on."
        )


def _saved_by(checkpoint: str | bool | None) -> int | None:
    """How many processes saved a checkpoint; `None` if that cannot be told."""
    if not isinstance(checkpoint, str):
        return None
    manifest = read_manifest(checkpoint)
    if manifest and manifest.world_size:
        return manifest.world_size
    if Path(checkpoint, "rng_state.pth").is_file():
        return 1
    return len(list(Path(checkpoint).glob("rng_state_*.pth"))) or None


def reads_own(trainer) -> bool:
    """Whether no rank reads shards that another one has written, as long as their number stays."""
    return not (_loads_universal(trainer) or _is_true(trainer, "zero_optimization.elastic_checkpoint"))


def _loads_universal(trainer) -> bool:
    return _is_true(trainer, "checkpoint.load_universal")


def _is_true(trainer, setting: str) -> bool:
    return trainer.is_deepspeed_enabled and trainer.accelerator.state.deepspeed_plugin.hf_ds_config.is_true(setting)
