"""A checkpoint is committed whose contents are in the storage of the bucket already: nothing is sent but its manifest."""

from collections.abc import Mapping

import huggingface_hub

from .address import step_of
from .hub_client import register, upload
from .manifest import MANIFEST_NAME, FileRecord, Manifest
from .names import check_paths
from .version import VERSION
from .writer import CheckpointBucket


def commit(
    run: CheckpointBucket,
    name: str,
    files: Mapping[str, FileRecord],
    world_size: int | None = None,
    versions: Mapping[str, str] | None = None,
) -> Manifest:
    """
    Make streamed contents a committed checkpoint, as a push does with a folder: paths first, the manifest alone and last.

    Args:
        run ([`CheckpointBucket`]):
            The run.
        name (`str`):
            `checkpoint-<step>`.
        files (`Mapping[str, FileRecord]`):
            Size and Xet hash of every file by its path in the checkpoint, see [`StreamedUpload`].
        world_size (`int`, *optional*):
            Number of processes that trained; goes into the manifest, as does the next.
        versions (`Mapping[str, str]`, *optional*):
            Versions of the libraries that wrote the checkpoint.

    Returns:
        [`Manifest`]: What was committed.

    Raises:
        [`BrokenCheckpointError`]: If a path cannot be, or the Hub has something else there.
        [`RunTakenOverError`]: If somebody else has taken the run over.
        Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
    """
    check_paths(files)
    manifest = run.root.last_place(
        Manifest(
            step=step_of(name),
            files=files,
            world_size=world_size,
            versions={
                "transformers_buckets": VERSION,
                "huggingface_hub": huggingface_hub.__version__,
                **(versions or {}),
            },
        )
    )
    run.root.check_owner()
    api, bucket_id, folder = run.api, run.address.bucket_id, run.address.path(name) + "/"
    left = {file.path for file in api.list_bucket_tree(bucket_id, prefix=folder, recursive=True)}
    mark, paths = folder + MANIFEST_NAME, {folder + path: record for path, record in files.items()}
    if mark in left:  # it must be gone before the first file changes under it
        upload(api, bucket_id, delete=[mark])
    register(api, bucket_id, paths)
    run.compare_with_hub(name, manifest)
    manifest = run.commit(name, manifest, is_added=True)
    if strays := left - paths.keys() - {mark}:
        upload(api, bucket_id, delete=sorted(strays))
    return manifest
