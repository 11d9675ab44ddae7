"""The token for the Hub must not leave this machine in a file."""

import pickletools
import zipfile
from itertools import pairwise
from pathlib import Path

from .contents import TRAINING_ARGS_NAME


def holds_token(folder: str | Path) -> bool:
    """Whether the training arguments saved in a folder hold a token for the Hub, in plain text. Nothing is unpickled."""
    try:
        with zipfile.ZipFile(Path(folder) / TRAINING_ARGS_NAME) as archive:
            (pickled,) = (archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
        operations = [op for op in pickletools.genops(pickled) if "PUT" not in op[0].name]
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return any(key == "hub_token" and value.name != "NONE" for (_, key, _), (value, _, _) in pairwise(operations))
