"""A run, or one checkpoint of it, is deleted: what goes and what stays."""

from dataclasses import dataclass

from huggingface_hub import BucketFile

from .added import ADDED_NAME
from .address import step_of
from .hub_client import explained, upload
from .run_file import RUN_FILE_NAME
from .writer import CheckpointBucket


@dataclass(frozen=True)
class Removal:
    """
    What is to be deleted.

    Args:
        checkpoints (`tuple[str]`):
            Names of checkpoints.
        beside (`tuple[str]`):
            Files at the root of the run, by their path in the bucket.
        files (`int`):
            How many files that are in all.
        size (`int`):
            Bytes of all of them.
        left (`tuple[str]`, *optional*):
            What else lies below the run and stays: nobody can tell that the run put it there.
    """

    checkpoints: tuple[str, ...]
    beside: tuple[str, ...]
    files: int
    size: int
    left: tuple[str, ...] = ()


def of_checkpoint(run: CheckpointBucket, name: str) -> Removal:
    """
    What goes with one checkpoint, whatever its state.

    Args:
        run ([`CheckpointBucket`]):
            The run.
        name (`str`):
            `checkpoint-<step>`, or `best`.

    Raises:
        [`CheckpointNotFoundError`]: If there is none of this name; says which there are.
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    name = run.find(name).name
    files = [file for path, file in _files(run).items() if path.startswith(f"{name}/")]
    return Removal((name,), (), len(files), sum(file.size for file in files))


def of_run(run: CheckpointBucket) -> Removal:
    """
    What goes with a run: its checkpoints, and what it put at its root, as its own file there says.

    Args:
        run ([`CheckpointBucket`]):
            The run.

    Raises:
        [`CheckpointNotFoundError`]: If it holds no checkpoints; says what there is.
        [`BucketAccessError`]: If the bucket cannot be read.
    """
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise run.nothing_committed([])
    run_file = run.run_file()
    ours = {ADDED_NAME, *({*run_file.root, RUN_FILE_NAME} if run_file else ())}
    names = {checkpoint.name for checkpoint in checkpoints}
    inside, beside, left = [], {}, set()
    for path, file in _files(run).items():
        first, *below = path.split("/")
        if below and first in names:
            inside.append(file)
        elif path in ours:
            beside[file.path] = file
        else:
            left.add(f"{first}/" if below else first)
    size = sum(file.size for file in [*inside, *beside.values()])
    return Removal(
        tuple(sorted(names, key=step_of)), tuple(beside), len(inside) + len(beside), size, tuple(sorted(left))
    )


def remove(run: CheckpointBucket, removal: Removal) -> None:
    """
    Delete what was found: checkpoints, each one's manifest first, then what lies beside them.

    Raises:
        [`BucketAccessError`]: If the Hub refuses or does not answer.
    """

    def delete() -> None:
        run.delete(removal.checkpoints, missing_ok=True)
        upload(run.api, run.address.bucket_id, delete=removal.beside)

    explained(delete, str(run.address))


def _files(run: CheckpointBucket) -> dict[str, BucketFile]:
    """Every file below a run, by its path in it."""
    prefix = run.address.path("")
    start = f"{prefix}/" if prefix else ""

    def ask() -> dict[str, BucketFile]:
        found = run.api.list_bucket_tree(run.address.bucket_id, prefix=start or None, recursive=True)
        files = (file for file in found if isinstance(file, BucketFile) and file.path.startswith(start))
        return {file.path[len(start) :]: file for file in files}

    return explained(ask, str(run.address))
