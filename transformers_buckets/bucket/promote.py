"""A checkpoint becomes a release: its model goes to a model repo, with a card, in one commit."""

import tempfile
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from .checkpoint import RemoteCheckpoint
from .contents import TRAINING_ARGS_NAME, is_weights, model_files
from .errors import BrokenCheckpointError
from .hub_client import explained
from .reader import BucketReader
from .release_card import CARD_NAME, release_card


def promotable(run: BucketReader, checkpoint: RemoteCheckpoint) -> list[str]:
    """
    The files of a checkpoint that a model repo gets: weights, configuration, tokenizer. No state of the training.

    Args:
        run ([`BucketReader`]):
            The run.
        checkpoint ([`RemoteCheckpoint`]):
            A checkpoint of it.

    Raises:
        [`BrokenCheckpointError`]: If the checkpoint is not committed.
        `ValueError`: If it holds no weights by the names that `from_pretrained` knows.
    """
    address = f"{run.address}/{checkpoint.name}"
    if checkpoint.state != "committed":
        raise BrokenCheckpointError(f"{address} is {checkpoint.state}: only a committed checkpoint can be promoted.")
    files = sorted(path for path in model_files(checkpoint.manifest.files) if path != TRAINING_ARGS_NAME)
    if not any(is_weights(path) for path in files):
        raise ValueError(
            f"{address} holds no weights that from_pretrained can load: its state is sharded over processes. "
            f"`transformers-buckets export {address} folder` brings the shards together; upload that folder."
        )
    return files


def promote(
    run: BucketReader,
    checkpoint: RemoteCheckpoint,
    repo_id: str,
    revision: str = "main",
    private: bool | None = None,
) -> str:
    """What [`CheckpointBucket.promote`] does."""
    files = promotable(run, checkpoint)
    api = run.api

    def commit(folder: Path) -> str:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        there = set(api.list_repo_files(repo_id, revision=revision))
        operations = [CommitOperationAdd(path, folder / path) for path in files if path != CARD_NAME]
        if CARD_NAME not in there:
            saved = folder / CARD_NAME if CARD_NAME in files else None
            card = release_card(run, checkpoint, repo_id, saved)
            operations.append(CommitOperationAdd(CARD_NAME, card.encode()))
        # A model is loaded from all that lies there: shards of an earlier one must go.
        stale = [path for path in sorted(there - set(files)) if is_weights(path) and "/" not in path]
        return api.create_commit(
            repo_id,
            [*operations, *(CommitOperationDelete(path) for path in stale)],
            commit_message=f"Model of {checkpoint.name}",
            commit_description=f"Promoted from {run.address}/{checkpoint.name}",
            revision=revision,
        ).commit_url

    with tempfile.TemporaryDirectory(prefix="promote-") as folder:
        path = run.pull(checkpoint, folder, only_model=True)
        return explained(lambda: commit(path), repo_id)
