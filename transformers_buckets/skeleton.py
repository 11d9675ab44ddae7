"""The model without its weights: what transformers leaves out of a checkpoint where every rank writes shards."""

import shutil
import tempfile

from .bucket.contents import is_weights


def lacks_skeleton(trainer) -> bool:
    """Whether this [`~transformers.Trainer`] saves shards and nothing that would tell what model they are of."""
    plugin = trainer.accelerator.state.fsdp_plugin if trainer.is_fsdp_enabled else None
    return plugin is not None and "FULL_STATE_DICT" not in str(plugin.state_dict_type)


def save_skeleton(trainer, folder: str) -> None:
    """
    Save configuration, tokenizer and whatever else comes with the weights of a model, but not the weights.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer; on a rank that saves.
        folder (`str`):
            Where to. Weights that are there stay.
    """
    with tempfile.TemporaryDirectory(prefix="skeleton-") as without_weights:
        # As transformers does it with ZeRO-3. It clears old weights away, hence not in the folder itself.
        trainer._save(without_weights, state_dict={})
        shutil.copytree(
            without_weights,
            folder,
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if is_weights(name)],
        )
