"""A checkpoint becomes a release: its model goes to a model repo, with a card, in one commit."""

import tempfile
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from .checkpoint import RemoteCheckpoint
from .contents import is_weights, model_files, replaced_files
from .errors import BrokenCheckpointError
from .hub_client import explained
from .model_repo import find_repo
from .reader import BucketReader
from .release_card import CARD_NAME, is_release_card, release_card


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
    files = sorted(model_files(checkpoint.manifest.files))
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
    files, api = promotable(run, checkpoint), run.api
    repo = find_repo(api, repo_id, revision, private)

    def commit(folder: Path) -> str:
        if repo.private is None:
            api.create_repo(repo.id, private=private, exist_ok=True)
        if not repo.has_branch and revision != "main":
            api.create_branch(repo.id, branch=revision, exist_ok=True)
        operations = [CommitOperationAdd(path, folder / path) for path in files if path != CARD_NAME]
        if CARD_NAME not in repo.files or _is_card_of_a_release(api, repo.id, revision):
            saved = folder / CARD_NAME if CARD_NAME in files else None
            card = release_card(run, checkpoint, repo.id, saved)
            operations.append(CommitOperationAdd(CARD_NAME, card.encode()))
        return api.create_commit(
            repo.id,
            [*operations, *(CommitOperationDelete(path) for path in replaced_files(repo.files, files))],
            commit_message=f"Model of {checkpoint.name}",
            commit_description=f"Promoted from {run.address}/{checkpoint.name}",
            revision=revision,
        ).commit_url

    with tempfile.TemporaryDirectory(prefix="promote-") as folder:
        path = run.pull(checkpoint, folder, only_model=True)
        return explained(lambda: commit(path), repo.id, "repo")


def _is_card_of_a_release(api: HfApi, repo_id: str, revision: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="card-") as folder:
        card = api.hf_hub_download(repo_id, CARD_NAME, revision=revision, local_dir=folder)
        return is_release_card(Path(card).read_bytes())
