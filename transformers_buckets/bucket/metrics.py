"""What a training measured: the evaluations that the trainer state in a checkpoint remembers."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .checkpoint import RemoteCheckpoint
from .contents import TRAINER_STATE_NAME
from .errors import BrokenCheckpointError
from .fetch import fetch
from .manifest import Manifest
from .reader import BucketReader


_SPEED = ("_runtime", "_per_second")  # of the evaluation, not of what it found
Metrics = Mapping[int, Mapping[str, float]]  # by step, then by name


def evaluations(trainer_state: str | bytes) -> Metrics:
    """
    The metrics of every evaluation so far, by step. What is not readable has none.

    Args:
        trainer_state (`str` or `bytes`):
            Content of a `trainer_state.json`; it may come from a bucket, so nothing of it is believed.
    """
    try:
        history = json.loads(trainer_state)["log_history"]
        found: dict[int, dict[str, float]] = {}
        for entry in history:
            numbers = {
                name: value
                for name, value in entry.items()
                if name.startswith("eval_")
                and isinstance(value, int | float)
                and value == value
                and not name.endswith(_SPEED)
            }
            if numbers:
                found.setdefault(int(entry["step"]), {}).update(numbers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return found


def evaluations_in(folder: Path) -> Metrics:
    """As [`evaluations`], of a checkpoint on local disk. One without a trainer state has none."""
    try:
        return evaluations((folder / TRAINER_STATE_NAME).read_bytes())
    except OSError:
        return {}


def read_evaluations(run: BucketReader, checkpoint: RemoteCheckpoint) -> Metrics:
    """
    The metrics of every evaluation up to a checkpoint in a bucket: those of earlier checkpoints are in them.

    Args:
        run ([`BucketReader`]):
            The run.
        checkpoint ([`RemoteCheckpoint`]):
            A committed checkpoint of it.

    Raises:
        [`BrokenCheckpointError`]: If what arrives is not what was committed.
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    record = checkpoint.manifest.files.get(TRAINER_STATE_NAME)
    if record is None:
        return {}
    state = Manifest(checkpoint.step, {TRAINER_STATE_NAME: record})
    with tempfile.TemporaryDirectory(prefix="state-") as folder:
        if wrong := fetch(run.api, run.address.below(checkpoint.name), state, Path(folder), quiet=True):
            raise BrokenCheckpointError(f"{run.address}/{checkpoint.name}: {wrong[0]}.")
        return evaluations_in(Path(folder))
