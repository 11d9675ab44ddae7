"""What a run in a bucket holds: its checkpoints are listed, chosen, pulled and verified here."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import BucketFile, BucketFolder

from .address import CHECKPOINT_NAME, BucketAddress, step_of
from .checkpoint import RemoteCheckpoint, listed
from .contents import model_files
from .download import download, fetch
from .errors import BrokenCheckpointError, CheckpointNotFoundError
from .files import SENTINEL_NAME, hash_files
from .hub_client import explained, require_client
from .manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileRecord, Manifest, check_paths
from .patience import TIMEOUT, PatientApi
from .version import VERSION


class BucketReader:
    """The reading half of [`CheckpointBucket`]."""

    def __init__(self, address: "str | BucketAddress", token: str | None = None, timeout: float = TIMEOUT):
        self.address = BucketAddress.parse(address).run if isinstance(address, str) else address
        self.api = PatientApi(timeout, token=token, library_name="transformers_buckets", library_version=VERSION)

    def checkpoints(self) -> list[RemoteCheckpoint]:
        """
        All checkpoints of the run: the committed and broken ones in the order of their commits, then the unmarked ones.

        Every file is compared with its manifest by size and hash as the Hub tells them; nothing is downloaded but the
        manifests. [`~CheckpointBucket.verify`] reads contents.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        return self._read(self._checkpoints)

    def committed(self) -> list[RemoteCheckpoint]:
        """
        The committed checkpoints of the run in the order of their commits.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        found = self._read(lambda: self._inspect(self._marks()[0]))
        return [checkpoint for checkpoint in found if checkpoint.state == "committed"]

    def latest(self) -> RemoteCheckpoint:
        """
        The checkpoint committed last, by the clock of the Hub: that is where the run stands, whatever its step.

        Raises:
            [`CheckpointNotFoundError`]: If no checkpoint is committed; says which ones were passed over and why.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        chosen, passed_over = self.find_latest()
        if chosen is None:
            raise self.nothing_committed(passed_over)
        return chosen

    def find_latest(self) -> tuple[RemoteCheckpoint | None, list[str]]:
        """
        As [`~CheckpointBucket.latest`], for those who have something to say about what it passes over.

        Returns:
            `tuple`: The checkpoint, or `None` if none is committed, and a line for each one that was passed over: broken
            ones that are newer, unmarked ones, and committed ones of a higher step, which an earlier branch of the run left.
        """

        def find():
            marks, unmarked = self._marks()
            passed_over = [f"{name} is unmarked (it has no manifest)" for name in unmarked]
            for index in reversed(range(len(marks))):
                (checkpoint,) = self._inspect([marks[index]])
                if checkpoint.state == "committed":
                    earlier = max((self._name(mark) for mark in marks[: index + 1]), key=step_of)
                    if step_of(earlier) > checkpoint.step:
                        passed_over.append(f"{earlier} has a higher step but was committed earlier")
                    return checkpoint, passed_over
                passed_over.append(f"{checkpoint.name} is broken ({', '.join(checkpoint.problems[:3])})")
            return None, passed_over

        return self._read(find)

    def find(self, name: str) -> RemoteCheckpoint:
        """
        One checkpoint by its name, whatever its state.

        Args:
            name (`str`):
                `checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is none of this name; says which there are.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if CHECKPOINT_NAME.match(name) is None:
            raise CheckpointNotFoundError(f"{name!r} is not the name of a checkpoint: those are checkpoint-<step>.")

        def find():
            marks = list(self.api.get_bucket_paths_info(self.address.bucket_id, [self._path(name, MANIFEST_NAME)]))
            if marks:
                return self._inspect(marks)[0]
            if files := self._files(name):
                return self._unmarked(name, files)
            marks, unmarked = self._marks()
            names = sorted([self._name(mark) for mark in marks] + unmarked, key=step_of)
            there = f"there are {listed(names)}" if names else f"there are no checkpoints at all{self._elsewhere()}"
            raise CheckpointNotFoundError(f"{self.address} has no {name}: {there}.")

        return self._read(find)

    def nothing_committed(self, passed_over: Sequence[str]) -> CheckpointNotFoundError:
        """
        The error that a run holds nothing to resume from; says what it holds instead.

        Args:
            passed_over (`Sequence[str]`):
                What [`~CheckpointBucket.find_latest`] told.
        """
        why = listed(passed_over, "; ") or f"it is empty there{self._read(self._elsewhere)}"
        return CheckpointNotFoundError(f"{self.address} holds no committed checkpoint: {why}.")

    def pull(
        self,
        checkpoint: "str | RemoteCheckpoint",
        output_dir: str | Path,
        only_model: bool = False,
    ) -> Path:
        """
        Bring a checkpoint to local disk, verified.

        A local copy is reused if every byte of it is right; of a wrong one, what is right in it. A download that was
        interrupted goes on where it stopped.

        Args:
            checkpoint (`str` or [`RemoteCheckpoint`]):
                Name or result of a listing.
            output_dir (`str` or `Path`):
                Folder to hold the checkpoint's folder.
            only_model (`bool`, *optional*, defaults to `False`):
                Leave optimizer and other training state in the bucket, unless it is sharded: then weights may be in it.

        Returns:
            `Path`: `output_dir/checkpoint-<step>`.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            [`BrokenCheckpointError`]: If it is broken, or what arrives is not what was committed.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if isinstance(checkpoint, str):
            checkpoint = self.find(checkpoint)
        if checkpoint.state == "broken":
            raise BrokenCheckpointError(f"{self.address}/{checkpoint.name} is broken: {listed(checkpoint.problems)}.")
        manifest = checkpoint.manifest
        model = model_files(manifest.files)
        if only_model and not any("/" in path for path in manifest.files.keys() - set(model)):
            manifest = replace(manifest, files={path: manifest.files[path] for path in model})
        return self._read(
            lambda: download(
                self.api, self.address, checkpoint.name, manifest, Path(output_dir), checkpoint.committed_at
            )
        )

    def verify(self, checkpoint: "str | RemoteCheckpoint") -> list[str]:
        """
        Download a checkpoint and compare every byte with its manifest. Needs room for its largest file only.

        Args:
            checkpoint (`str` or [`RemoteCheckpoint`]):
                Name or result of a listing.

        Returns:
            `list[str]`: What is wrong with it; empty if it is whole.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        if isinstance(checkpoint, str):
            checkpoint = self.find(checkpoint)
        if checkpoint.state != "committed":
            return list(checkpoint.problems) or ["it has no manifest"]
        wrong = []
        for path, record in checkpoint.manifest.files.items():
            alone = replace(checkpoint.manifest, files={path: record})
            with tempfile.TemporaryDirectory(prefix="verify-") as folder:
                wrong += self._read(
                    lambda: fetch(self.api, self.address.below(checkpoint.name), alone, Path(folder), quiet=True)  # noqa: B023
                )
        return wrong

    # ---- How the Hub is asked ----

    def _read(self, call: Callable):
        require_client()
        return explained(lambda: self._complete_address() or call(), str(self.address))

    def _complete_address(self) -> None:
        """A bucket that is named without its namespace is the user's, as it is when the Hub creates one."""
        if "/" not in self.address.bucket_id:
            bucket_id = f"{self.api.whoami()['name']}/{self.address.bucket_id}"
            self.address = replace(self.address, bucket_id=bucket_id)

    def _elsewhere(self) -> str:
        """The folders where a checkpoint was looked for in vain, or those at the root of the bucket: a hint at typos."""
        for run in (self, BucketReader(BucketAddress(self.address.bucket_id), self.api.token)):
            folders = [
                child.path for child in run._children() if isinstance(child, BucketFolder) and child.path.isprintable()
            ]
            if folders:
                return f", but the bucket has the folders {listed(folders)}"
        return ""

    def _path(self, *parts: str) -> str:
        return self.address.path(*parts)

    def _name(self, mark: BucketFile) -> str:
        return mark.path.split("/")[-2]

    def _children(self) -> Iterator[BucketFile | BucketFolder]:
        """Files and folders directly at the root of the run. Other runs' names may begin like ours: `expt-1`, `expt-10`."""
        depth = self._path("x").count("/")
        prefix = self.address.prefix
        for child in self.api.list_bucket_tree(self.address.bucket_id, prefix=prefix or None, recursive=False):
            if child.path.count("/") == depth and child.path.startswith(f"{prefix}/" if prefix else ""):
                yield child

    def _files(self, name: str) -> list[BucketFile]:
        """Everything below the folder of one checkpoint."""
        folder = self._path(name) + "/"
        files = self.api.list_bucket_tree(self.address.bucket_id, prefix=folder, recursive=True)
        return [file for file in files if isinstance(file, BucketFile) and file.path.startswith(folder)]

    def _records(self, files: Iterable[BucketFile], name: str) -> dict[str, FileRecord]:
        start = len(self._path(name)) + 1
        return {file.path[start:]: FileRecord(file.size, file.xet_hash) for file in files}

    def _marks(self) -> tuple[list[BucketFile], list[str]]:
        """The manifests of the run in the order of their upload, and the names of checkpoints that have none."""
        names = [child.path.rsplit("/", 1)[-1] for child in self._children() if isinstance(child, BucketFolder)]
        names = [name for name in names if step_of(name) is not None]
        marks = self.api.get_bucket_paths_info(
            self.address.bucket_id, [self._path(name, MANIFEST_NAME) for name in names]
        )
        marks = sorted(marks, key=lambda mark: (mark.uploaded_at, step_of(self._name(mark))))
        marked = {self._name(mark) for mark in marks}
        return marks, sorted((name for name in names if name not in marked), key=step_of)

    def _checkpoints(self) -> list[RemoteCheckpoint]:
        marks, unmarked = self._marks()
        return self._inspect(marks) + [self._unmarked(name, self._files(name)) for name in unmarked]

    def _unmarked(self, name: str, files: list[BucketFile]) -> RemoteCheckpoint:
        manifest = Manifest(step=step_of(name), files=self._records(files, name))
        if SENTINEL_NAME in manifest.files:
            return RemoteCheckpoint(name, "broken", problems=("it was not written to its end",))
        try:
            check_paths(manifest.files)
        except BrokenCheckpointError as error:
            return RemoteCheckpoint(name, "broken", problems=(str(error),))
        return RemoteCheckpoint(name, "unmarked", manifest=manifest)

    def _inspect(self, marks: list[BucketFile]) -> list[RemoteCheckpoint]:
        """Read manifests, and compare what they name with what is there."""
        marks_by_path = {
            f"{self._name(mark)}/{MANIFEST_NAME}": mark for mark in marks if mark.size <= MAX_MANIFEST_BYTES
        }
        wanted = {path: FileRecord(mark.size, mark.xet_hash) for path, mark in marks_by_path.items()}
        manifests = {}
        with tempfile.TemporaryDirectory(prefix="manifests-") as folder:
            fetch(self.api, self.address, Manifest(step=0, files=wanted), Path(folder), quiet=True)
            arrived = hash_files({path: Path(folder, path) for path in wanted})
            for path, mark in marks_by_path.items():
                try:
                    if arrived[path] != wanted[path]:
                        raise BrokenCheckpointError("the manifest has another content (wrong hash)")
                    manifests[self._name(mark)] = Manifest.from_json(Path(folder, path).read_bytes())
                except BrokenCheckpointError as error:
                    manifests[self._name(mark)] = error
        named = [
            self._path(name, path)
            for name, manifest in manifests.items()
            if isinstance(manifest, Manifest)
            for path in manifest.files
        ]
        found = {name: {} for name in manifests}
        for file in self.api.get_bucket_paths_info(self.address.bucket_id, named):
            name, _, path = file.path[len(self._path("x")) - 1 :].partition("/")
            found[name][path] = FileRecord(file.size, file.xet_hash)
        return [self._judged(mark, manifests.get(self._name(mark)), found) for mark in marks]

    def _judged(self, mark: BucketFile, manifest, found: dict) -> RemoteCheckpoint:
        name = self._name(mark)
        if not isinstance(manifest, Manifest):
            problem = str(manifest) if manifest else f"the manifest has {mark.size} bytes, which is too many"
            return RemoteCheckpoint(name, "broken", mark.uploaded_at, problems=(problem,))
        problems = tuple(manifest.differences(found[name]))
        if manifest.step != step_of(name):
            problems = (f"the manifest is that of step {manifest.step}", *problems)
        return RemoteCheckpoint(name, "broken" if problems else "committed", mark.uploaded_at, manifest, problems)
