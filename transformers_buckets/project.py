"""What tells one project from another that happens to use the same name for its run."""

import hashlib
import sys
from pathlib import Path

from torch import nn


def project_of(model: nn.Module) -> dict[str, str]:
    """
    The name of the script, and a digest of the names and shapes of all parameters.

    Args:
        model (`nn.Module`):
            The model, before it is wrapped for training.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        # DeepSpeed has taken the content away by now, where it shards from the beginning.
        shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
        digest.update(f"{name} {shape}\n".encode())
    return {"script": Path(sys.argv[0]).name, "parameters": digest.hexdigest()}
