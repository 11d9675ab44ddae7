"""The model card of a release: that of the run, or a short one; either says where the weights are from."""

import hashlib
import re
import tempfile
from pathlib import Path

from huggingface_hub import ModelCardData

from .checkpoint import RemoteCheckpoint
from .hub_client import endpoint
from .metrics import read_evaluations
from .reader import BucketReader


CARD_NAME = "README.md"
# The last line of a card: as long as the hash is that of all above it, nobody has written into the card.
_MARK = re.compile(rb"(?s)(.*)\n<!-- made by transformers-buckets promote: ([0-9a-f]{16}) -->\s*\Z")


def release_card(run: BucketReader, checkpoint: RemoteCheckpoint, repo_id: str, saved: Path | None = None) -> str:
    """
    The text of a model card for a checkpoint.

    Args:
        run ([`BucketReader`]):
            The run. The card at its root comes first.
        checkpoint ([`RemoteCheckpoint`]):
            The checkpoint.
        repo_id (`str`):
            The model repo; names the model in a card that is made here.
        saved (`Path`, *optional*):
            A card that was saved with the checkpoint, as PEFT does. Comes second.

    Raises:
        Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
    """
    text = _card_of_run(run) or (saved and saved.read_text(encoding="utf-8")) or _short(run, checkpoint, repo_id)
    page = f"{endpoint()}/buckets/{run.address.bucket_id}"
    card = (
        f"{text.rstrip()}\n\nThe weights are those of {checkpoint.name} of the training in [{run.address}]({page}).\n"
    )
    return f"{card}\n<!-- made by transformers-buckets promote: {_hash(card.encode())} -->\n"


def is_release_card(content: bytes) -> bool:
    """Whether a card is one that [`release_card`] made, as it was made."""
    found = _MARK.match(content)
    return found is not None and found[2].decode() == _hash(found[1])


def _hash(card: bytes) -> str:
    return hashlib.sha256(card).hexdigest()[:16]


def _card_of_run(run: BucketReader) -> str | None:
    path = run.address.path(CARD_NAME)
    if not list(run.api.get_bucket_paths_info(run.address.bucket_id, [path])):
        return None
    with tempfile.TemporaryDirectory(prefix="card-") as folder:
        card = Path(folder, CARD_NAME)
        run.api.download_bucket_files(run.address.bucket_id, [(path, card)])
        return card.read_text(encoding="utf-8")


def _short(run: BucketReader, checkpoint: RemoteCheckpoint, repo_id: str) -> str:
    metrics = read_evaluations(run, checkpoint).get(checkpoint.step, {})
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())]
    table = ["", "| metric of the evaluation | |", "|---|---|", *rows] if rows else []
    header = ["---", ModelCardData(library_name="transformers").to_yaml(), "---", ""]
    return "\n".join([*header, f"# {repo_id.rsplit('/', 1)[-1]}", *table])
