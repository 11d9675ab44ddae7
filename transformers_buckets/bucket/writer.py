"""One training run in a bucket: pushed to and cleaned up here, read in `bucket_reader.py`."""

import logging
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import huggingface_hub

from . import retention
from .address import BucketAddress, step_of
from .checkpoint import RemoteCheckpoint, listed
from .contents import TRAINER_STATE_NAME, best_checkpoint, is_weights, model_files, vital_files
from .door import pass_door
from .download import fetch
from .errors import BrokenCheckpointError, TokenFoundError
from .files import scan, stamp
from .hub_client import Transfer, explained, open_bucket, upload
from .manifest import MANIFEST_NAME, Manifest, PushId
from .patience import TIMEOUT
from .reader import BucketReader
from .version import VERSION


logger = logging.getLogger(__name__)


class CheckpointBucket(BucketReader):
    """
    One training run in an HF Storage Bucket: a bucket and an optional prefix in it.

    Args:
        address (`str` or [`BucketAddress`]):
            `namespace/name[/prefix]` or `hf://buckets/namespace/name[/prefix]`.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub is given up.

    Example:

    ```python
    >>> from transformers_buckets import CheckpointBucket

    >>> run = CheckpointBucket("hf://buckets/my-org/my-run")
    >>> [checkpoint.name for checkpoint in run.checkpoints()]
    ['checkpoint-500', 'checkpoint-1000']
    >>> run.pull(run.latest(), "out")
    PosixPath('out/checkpoint-1000')
    ```
    """

    def __init__(self, address: "str | BucketAddress", token: str | None = None, timeout: float = TIMEOUT):
        super().__init__(address, token, timeout)
        self._root_weights: set[str] | None = None  # what lies at the root of the run; not known before the first look

    def create(self, private: bool | None = None, argument: str = "bucket_id") -> None:
        """
        Create the bucket if there is none, complete its id with the user's namespace, and make sure of the right to write.

        Args:
            private (`bool`, *optional*):
                Whether a new bucket is private. `None` leaves it to the Hub.
            argument (`str`, *optional*, defaults to `"bucket_id"`):
                What to call the address in an error.

        Raises:
            [`BucketAccessError`]: If that cannot be, with the reason and the way out.
        """
        bucket_id = open_bucket(self.api, self.address, private, argument)
        self.address = BucketAddress(bucket_id, self.address.prefix)

    def push(
        self,
        folder: str | Path,
        name: str | None = None,
        world_size: int | None = None,
        best_checkpoint: str | None = None,
        push_id: PushId | None = None,
        versions: Mapping[str, str] | None = None,
        transfer: Transfer | None = None,
    ) -> Manifest:
        """
        Make a folder on disk a committed checkpoint: data first, the manifest alone and last.

        Whatever interrupts it, the checkpoint is either committed as a whole or not committed.

        Args:
            folder (`str` or `Path`):
                The checkpoint. Its files must not change meanwhile.
            name (`str`, *optional*):
                `checkpoint-<step>`. Defaults to the name of the folder.
            world_size (`int`, *optional*):
                Number of processes that trained; goes into the manifest, as do the next three.
            best_checkpoint (`str`, *optional*):
                Name of the best checkpoint so far.
            push_id ([`PushId`], *optional*):
                Which push this is.
            versions (`Mapping[str, str]`, *optional*):
                Versions of the libraries that wrote the checkpoint.
            transfer ([`Transfer`], *optional*):
                Counts the bytes, live.

        Returns:
            [`Manifest`]: What was committed.

        Raises:
            `FileNotFoundError`: If the folder holds no files.
            `ValueError`: If `name` is not that of a checkpoint.
            [`TokenFoundError`]: If a file without which it cannot be resumed holds a token for the Hub.
            [`BrokenCheckpointError`]: If what the Hub has is not what was on disk.
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        name = name or Path(folder).name
        if step_of(name) is None:
            raise ValueError(f"name={name!r}: a checkpoint is called checkpoint-<step>.")
        files = scan(folder)
        if not files:
            raise FileNotFoundError(f"{folder} holds no files to push.")
        stamps = {path: stamp(file) for path, file in files.items()}
        leaving, held_back = pass_door([(file, path) for path, file in files.items()], self.api.token)
        if missing := set(held_back) & set(vital_files(files)):
            raise TokenFoundError(f"{folder}/{min(missing)} holds your token for the Hub, so {name} cannot be pushed.")
        # What an earlier push of this step left. Its manifest must be gone before the first byte changes under it.
        left = {file.path for file in self._files(name)}
        if (mark := self._path(name, MANIFEST_NAME)) in left:
            self._upload(delete=[mark])
        self._upload(add=[(source, self._path(name, path)) for source, path in leaving], transfer=transfer)
        files = {path: files[path] for _, path in leaving}
        records = self._records(
            self.api.get_bucket_paths_info(self.address.bucket_id, [self._path(name, path) for path in files]), name
        )
        for path, file in files.items():
            if path not in records or records[path].size != stamps[path][0] or stamp(file) != stamps[path]:
                raise BrokenCheckpointError(f"{folder}/{path} changed while it was pushed, or did not arrive.")
        manifest = Manifest(
            step=step_of(name),
            files=records,
            world_size=world_size,
            best_checkpoint=best_checkpoint,
            push_id=push_id,
            versions={
                "transformers_buckets": VERSION,
                "huggingface_hub": huggingface_hub.__version__,
                **(versions or {}),
            },
        )
        self._commit(name, manifest)
        if strays := left - {self._path(name, path) for path in files} - {mark}:
            self._upload(delete=sorted(strays))
        return manifest

    def refresh_root(
        self, manifest: Manifest, beside: Mapping[str, Path] | None = None, transfer: Transfer | None = None
    ) -> None:
        """
        Make the root of the run the model of a committed checkpoint, by copies on the side of the Hub.

        Args:
            manifest ([`Manifest`]):
                The checkpoint.
            beside (`Mapping[str, Path]`, *optional*):
                More files for the root, by path: logs, model card.
            transfer ([`Transfer`], *optional*):
                Counts the bytes.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        snapshot = {path: manifest.files[path] for path in model_files(manifest.files)}
        self._put_root(
            add=[(file, self._path(path)) for path, file in (beside or {}).items() if path not in snapshot]
            + [(b"", self._path(path)) for path, record in snapshot.items() if record.is_empty],
            copy=[(record.xet_hash, self._path(path)) for path, record in snapshot.items() if not record.is_empty],
            weights={path for path in snapshot if is_weights(path)},
            transfer=transfer,
        )

    def push_root(self, files: Mapping[str, Path], transfer: Transfer | None = None) -> None:
        """
        Upload files to the root of the run, and take away weights there that they replace.

        Args:
            files (`Mapping[str, Path]`):
                Local files by their path at the root.
            transfer ([`Transfer`], *optional*):
                Counts the bytes.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        self._put_root(
            add=[(file, self._path(path)) for path, file in files.items()],
            copy=[],
            weights={path for path in files if is_weights(path)},
            transfer=transfer,
        )

    def delete(self, names: Iterable[str]) -> None:
        """
        Delete checkpoints: their manifests first, so that a half deleted one is never taken for a whole one.

        Args:
            names (`Iterable[str]`):
                Names of checkpoints.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        for name in names:
            paths = [file.path for file in self._files(name)]
            if (mark := self._path(name, MANIFEST_NAME)) in paths:
                self._upload(delete=[mark])
            self._upload(delete=[path for path in paths if path != mark])

    def prunable(self, limit: int, keep: Collection[str] = ()) -> list[str]:
        """
        The committed checkpoints that are too many. The newest and the best are never among them.

        Args:
            limit (`int`):
                How many may stay.
            keep (`Collection[str]`, *optional*):
                Names of others that must stay.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        committed = self.committed()
        best = committed[-1].manifest.best_checkpoint if committed else None
        return retention.surplus([checkpoint.name for checkpoint in committed], limit, {best, *keep})

    def adoptable(self, name: str) -> RemoteCheckpoint:
        """
        The unmarked checkpoint that [`~CheckpointBucket.adopt`] would commit.

        Args:
            name (`str`):
                `checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            `ValueError`: If it has a manifest already, or cannot be a checkpoint.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        checkpoint = self.find(name)
        if checkpoint.state != "unmarked":
            why = "".join(f": {problem}" for problem in checkpoint.problems[:1])
            raise ValueError(f"{self.address}/{name} is {checkpoint.state}{why}. Only an unmarked one can be adopted.")
        return checkpoint

    def adopt(self, name: str) -> Manifest:
        """
        Give an unmarked checkpoint a manifest of the files it has now. From then on it is a committed one, and the newest.

        Args:
            name (`str`):
                `checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            `ValueError`: If it has a manifest already, or cannot be a checkpoint.
            [`BucketAccessError`]: If the bucket cannot be read or written.
        """
        checkpoint = self.adoptable(name)
        with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
            state = {path: r for path, r in checkpoint.manifest.files.items() if path == TRAINER_STATE_NAME}
            self._read(lambda: fetch(self.api, self.address.below(name), Manifest(0, state), Path(folder), quiet=True))
            manifest = replace(
                checkpoint.manifest,
                best_checkpoint=best_checkpoint(folder),
                versions={"transformers_buckets": VERSION},
            )
        explained(lambda: self._commit(name, manifest), f"{self.address}/{name}")
        return manifest

    # ---- How it is done ----

    def _upload(self, **operations) -> None:
        upload(self.api, self.address.bucket_id, **operations)

    def _commit(self, name: str, manifest: Manifest) -> None:
        self._upload(add=[(manifest.to_json(), self._path(name, MANIFEST_NAME))])

    def _put_root(self, add: list, copy: list, weights: set[str], transfer: Transfer | None) -> None:
        if self._root_weights is None:
            names = (child.path[len(self._path("x")) - 1 :] for child in self._children())
            self._root_weights = {name for name in names if is_weights(name)}
        stale = self._root_weights - weights if weights else set()
        self._upload(add=add, copy=copy, delete=[self._path(name) for name in sorted(stale)], transfer=transfer)
        self._root_weights = weights or self._root_weights


def download_latest_checkpoint_from_bucket(
    bucket_id: str, output_dir: str | Path, token: str | None = None
) -> str | None:
    """
    Bring the latest committed checkpoint of a run to local disk, verified. Name and shape are those of upstream.

    Args:
        bucket_id (`str`):
            `namespace/name[/prefix]` or `hf://buckets/namespace/name[/prefix]`.
        output_dir (`str` or `Path`):
            Folder to hold the checkpoint's folder.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Returns:
        `str`, *optional*: The path of the checkpoint on local disk; `None` if the bucket holds none.

    Raises:
        [`BucketAddressError`]: If `bucket_id` cannot name a bucket.
        [`BucketAccessError`]: If the bucket cannot be read.

    Example:

    ```python
    >>> from transformers_buckets import download_latest_checkpoint_from_bucket

    >>> download_latest_checkpoint_from_bucket("my-org/my-run", "out")
    'out/checkpoint-1000'
    ```
    """
    bucket = CheckpointBucket(BucketAddress.parse(bucket_id, "bucket_id").run, token=token)
    checkpoint, passed_over = bucket.find_latest()
    if passed_over:
        logger.warning(f"{bucket.address}: passed over {listed(passed_over, '; ')}.")
    return None if checkpoint is None else str(bucket.pull(checkpoint, output_dir))
