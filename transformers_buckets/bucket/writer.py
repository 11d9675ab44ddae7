"""One training run in a bucket: pushed to and cleaned up here, read in `reader.py`."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import huggingface_hub

from .address import BucketAddress, step_of
from .checkpoint import RemoteCheckpoint, listed
from .contents import TRAINER_STATE_NAME, best_checkpoint, vital_files
from .door import pass_door
from .errors import BrokenCheckpointError, TokenFoundError
from .fetch import fetch
from .files import measure, stamp
from .hub_client import Transfer, explained, open_bucket, upload
from .inventory import all_files, missing, whole
from .lifecycle import RunLifecycle
from .manifest import MANIFEST_NAME, FileRecord, Manifest
from .patience import TIMEOUT
from .reader import check_name
from .root import RunRoot
from .version import VERSION


logger = logging.getLogger(__name__)


class CheckpointBucket(RunLifecycle):
    """
    One training run in an HF Storage Bucket: a bucket and an optional prefix in it.

    Args:
        address (`str` or [`BucketAddress`]):
            `namespace/name[/prefix]` or `hf://buckets/namespace/name[/prefix]`.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub is given up.

    Raises:
        [`BucketAddressError`]: If `address` cannot name a run, or names a checkpoint of one.

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
        self.root = RunRoot(self)

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
        manifest: Manifest | None = None,
        transfer: Transfer | None = None,
        others: Callable[[], Callable[[], Mapping[str, FileRecord]]] | None = None,
    ) -> Manifest:
        """
        Make a folder on disk a committed checkpoint: data first, the manifest alone and last.

        Whatever interrupts it, the checkpoint is either committed as a whole or not committed.

        Args:
            folder (`str` or `Path`):
                The checkpoint. Its files must not change meanwhile.
            name (`str`, *optional*):
                `checkpoint-<step>`. Defaults to the name of the folder.
            manifest ([`Manifest`], *optional*):
                What it consists of and where it stands in its run, as fixed when it was saved. `None` for a folder that was
                found: it gets a look, and comes last in the run.
            transfer ([`Transfer`], *optional*):
                Counts the bytes, live.
            others (`Callable`, *optional*):
                Lets those files of the manifest be sent that are on other disks. What it returns waits for them, and
                returns what was sent. Without it, all files are in the folder.

        Returns:
            [`Manifest`]: What was committed.

        Raises:
            [`BrokenCheckpointError`]: If the folder cannot be resumed from, or what the Hub has is not what was saved.
            [`RunTakenOverError`]: If somebody else has taken the run over.
            [`TokenFoundError`]: If a file without which it cannot be resumed holds a token for the Hub.
            `ValueError`: If `name` is not that of a checkpoint.
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        name = name or Path(folder).name
        if step_of(name) is None:
            raise ValueError(f"name={name!r}: a checkpoint is called checkpoint-<step>.")
        is_added = manifest is None or manifest.run is None  # by somebody who does not train, or has not looked
        if manifest is None:
            manifest = self._found(Path(folder), step_of(name))
        if is_added:
            manifest = self.root.last_place(manifest)
        files = {path: Path(folder, path) for path in manifest.files if not others or Path(folder, path).exists()}
        stamps = {path: stamp(file) for path, file in files.items()}
        leaving, held_back = pass_door([(file, path) for path, file in files.items()], self.api.token)
        if refused := set(held_back) & set(vital_files(files)):
            raise TokenFoundError(f"{folder}/{min(refused)} holds your token for the Hub, so {name} cannot be pushed.")
        manifest = replace(manifest, files={p: record for p, record in manifest.files.items() if p not in held_back})
        self.root.check_owner()
        # What an earlier push of this step left. Its manifest must be gone before the first byte changes under it.
        left = {file.path for file in self._files(name)}
        if (mark := self._path(name, MANIFEST_NAME)) in left:
            self._upload(delete=[mark])
        sent_elsewhere = others() if others else dict
        sent = self._send(name, leaving, transfer)
        sent = {**sent_elsewhere(), **sent}
        changed = manifest.differences(sent) or [path for path, file in files.items() if stamp(file) != stamps[path]]
        if changed:
            raise BrokenCheckpointError(f"{folder} changed on disk while it was pushed: {listed(changed)}")
        manifest = replace(
            manifest,
            files=sent,
            versions={
                "transformers_buckets": VERSION,
                "huggingface_hub": huggingface_hub.__version__,
                **manifest.versions,
            },
        )
        self.compare_with_hub(name, manifest)
        manifest = self.commit(name, manifest, is_added)
        if strays := left - {self._path(name, path) for path in manifest.files} - {mark}:
            self._upload(delete=sorted(strays))
        return manifest

    def push_part(
        self, name: str, files: Mapping[str, Path], transfer: Transfer | None = None
    ) -> dict[str, FileRecord]:
        """
        Send files of a checkpoint. They are no checkpoint before somebody commits it with [`~CheckpointBucket.push`].

        Args:
            name (`str`):
                `checkpoint-<step>`.
            files (`Mapping[str, Path]`):
                Local files by their path in the checkpoint.
            transfer ([`Transfer`], *optional*):
                Counts the bytes, live.

        Returns:
            `dict[str, FileRecord]`: Size and hash of what was sent.

        Raises:
            [`TokenFoundError`]: If one of them holds a token for the Hub.
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        leaving, held_back = pass_door([(file, path) for path, file in files.items()], self.api.token)
        if held_back:
            raise TokenFoundError(f"{min(held_back)} holds your token for the Hub, so {name} cannot be pushed.")
        return self._send(name, leaving, transfer)

    def delete(self, names: str | Iterable[str], missing_ok: bool = False) -> None:
        """
        Delete checkpoints: their manifests first, so that a half deleted one is never taken for a whole one.

        Args:
            names (`str` or `Iterable[str]`):
                Names of checkpoints.
            missing_ok (`bool`, *optional*, defaults to `False`):
                Whether one that is not there is as good as deleted.

        Raises:
            [`CheckpointNotFoundError`]: If one of them is no name of a checkpoint, or not there. Those before it are deleted.
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            check_name(name)
        for name in names:
            paths = [file.path for file in self._files(name)]
            if not (paths or missing_ok):
                self.find(name)  # raises, with what there is
            if (mark := self._path(name, MANIFEST_NAME)) in paths:
                self._upload(delete=[mark])
            self._upload(delete=[path for path in paths if path != mark])

    def adoptable(self, name: str) -> RemoteCheckpoint:
        """
        The unmarked checkpoint that [`~CheckpointBucket.adopt`] would commit.

        Args:
            name (`str`):
                `checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            `ValueError`: If it has a manifest already, or cannot be resumed from.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        checkpoint = self.find(name)
        if checkpoint.state != "unmarked":
            why = "".join(f": {problem}" for problem in checkpoint.problems[:1])
            raise ValueError(f"{self.address}/{name} is {checkpoint.state}{why}. Only an unmarked one can be adopted.")
        if lacks := missing(checkpoint.manifest.files):
            raise ValueError(f"{self.address}/{name} cannot be resumed from: {', '.join(lacks)}.")
        return checkpoint

    def adopt(self, name: str) -> Manifest:
        """
        Give an unmarked checkpoint a manifest of the files it has now. From then on it is a committed one, and the newest.

        Args:
            name (`str`):
                `checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            `ValueError`: If it has a manifest already, or cannot be resumed from.
            [`BucketAccessError`]: If the bucket cannot be read or written.
        """
        files = self.adoptable(name).manifest.files
        with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
            state = Manifest(0, {TRAINER_STATE_NAME: files[TRAINER_STATE_NAME]})
            self._read(lambda: fetch(self.api, self.address.below(name), state, Path(folder), quiet=True))
            best = best_checkpoint(folder)
        manifest = self.root.last_place(
            Manifest(step_of(name), files, best_checkpoint=best, versions={"transformers_buckets": VERSION})
        )

        return explained(lambda: self.commit(name, manifest, is_added=True), f"{self.address}/{name}")

    # ---- How it is done ----

    def _found(self, folder: Path, step: int) -> Manifest:
        """A folder that was not saved here, at the end of the run."""
        there, problems = whole(folder)
        if problems:
            raise BrokenCheckpointError(f"{folder} cannot be resumed from: {listed(problems)}")
        if (known := there) is None:
            state = json.loads((folder / TRAINER_STATE_NAME).read_bytes())
            known = Manifest(int(state["global_step"]), {}, best_checkpoint=best_checkpoint(folder))
        if known.step != step:
            raise BrokenCheckpointError(
                f"{folder} is of step {known.step}: push it as checkpoint-{known.step}, not -{step}"
            )
        return replace(known, files=measure(all_files(folder)))

    def compare_with_hub(self, name: str, manifest: Manifest) -> None:
        """Compare what was read here with what the Hub lists, and see in the same request who writes to the run."""
        paths = [self._path(name, path) for path in manifest.files]
        found = list(self.api.get_bucket_paths_info(self.address.bucket_id, [*paths, *self.root.paths]))
        self.root.check_owner([file for file in found if file.path in self.root.paths])
        arrived = self._records([file for file in found if file.path not in self.root.paths], name)
        if wrong := manifest.differences(arrived):
            raise BrokenCheckpointError(f"{self.address}/{name} did not arrive as it was sent: {listed(wrong)}")

    def _send(self, name: str, leaving: list[tuple], transfer: Transfer | None) -> dict[str, FileRecord]:
        sent = self._upload(add=[(source, self._path(name, path)) for source, path in leaving], transfer=transfer)
        return {path: sent[self._path(name, path)] for _, path in leaving}

    def _upload(self, **operations) -> Mapping[str, FileRecord]:
        return upload(self.api, self.address.bucket_id, **operations)

    def commit(self, name: str, manifest: Manifest, is_added: bool) -> Manifest:
        """Send the manifest of a checkpoint whose files are all there. What a training commits comes after what was added to the run."""
        saved = manifest.place
        if is_added:
            self.root.announce(name, saved)
        else:
            manifest = replace(manifest, place=self.root.shifted(saved))
        mark = self._path(name, MANIFEST_NAME)
        if mark not in self._upload(add=[(manifest.to_json(), mark)]):
            raise TokenFoundError(f"The manifest of {name} holds your token for the Hub, so it cannot be committed.")
        self.root.committed(name, manifest, saved)
        return manifest
