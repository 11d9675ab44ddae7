"""How the Hub is asked what lies in a run: manifests, checkpoints without one, and the file of the run."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import BucketFile, BucketFolder
from huggingface_hub.errors import BucketNotFoundError, EntryNotFoundError

from .address import BucketAddress, step_of
from .checkpoint import RemoteCheckpoint, listed
from .errors import BrokenCheckpointError, GoneError
from .fetch import fetch
from .files import SENTINEL_NAME, hash_files
from .hub_client import explained, require_client
from .manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileRecord, Manifest, Place
from .names import check_paths
from .patience import TIMEOUT, PatientApi
from .run_file import MAX_RUN_FILE_BYTES, RUN_FILE_NAME, RunFile
from .version import VERSION


class RunListing:
    """What the Hub tells of a run, for [`BucketReader`]."""

    def __init__(self, address: "str | BucketAddress", token: str | None = None, timeout: float = TIMEOUT):
        self.address = BucketAddress.parse(address) if isinstance(address, str) else address
        if isinstance(token, str):
            token = token.strip()  # read from a file, it ends in a new line, which no request can carry
        self.api = PatientApi(timeout, token=token, library_name="transformers_buckets", library_version=VERSION)

    def _read(self, call: Callable):
        require_client()

        def look():
            self._complete_address()
            try:
                return call()
            except (EntryNotFoundError, GoneError):  # deleted between two questions, as retention does: look again
                return call()

        return explained(look, str(self.address))

    def _complete_address(self) -> None:
        """A bucket that is named without its namespace is the user's, as it is when the Hub creates one."""
        if "/" not in self.address.bucket_id:
            bucket_id = f"{self.api.user_name()}/{self.address.bucket_id}"
            self.address = replace(self.address, bucket_id=bucket_id)

    def bucket_exists(self) -> bool:
        """
        Whether there is a bucket at the address.

        Raises:
            [`BucketAccessError`]: If the Hub refuses or does not answer.
        """

        return self.is_private() is not None

    def is_private(self) -> bool | None:
        """
        Whether the bucket at the address is private; `None` if there is none.

        Raises:
            [`BucketAccessError`]: If the Hub refuses or does not answer.
        """

        def ask() -> bool | None:
            try:
                return self.api.bucket_info(self.address.bucket_id).private
            except BucketNotFoundError:
                return None

        return self._read(ask)

    def elsewhere(self) -> str:
        """As [`~RunListing._elsewhere`], for those who have not asked the Hub for anything yet."""
        return self._read(self._elsewhere)

    def _elsewhere(self) -> str:
        """The folders where a checkpoint was looked for in vain, or those at the root of the bucket: a hint at typos."""
        for run in (self, RunListing(BucketAddress(self.address.bucket_id), self.api.token)):
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

    def contents(self) -> tuple[list[BucketFile], list[str], RunFile | BrokenCheckpointError | None]:
        """The manifests of the run in the order of their upload, names of checkpoints that have none, and its own file."""
        children = list(self._children())
        names = [child.path.rsplit("/", 1)[-1] for child in children if isinstance(child, BucketFolder)]
        names = [name for name in names if step_of(name) is not None]
        marks = self.api.get_bucket_paths_info(
            self.address.bucket_id, [self._path(name, MANIFEST_NAME) for name in names]
        )
        marks = sorted(marks, key=lambda mark: (mark.uploaded_at, step_of(self._name(mark))))
        marked = {self._name(mark) for mark in marks}
        unmarked = sorted((name for name in names if name not in marked), key=step_of)
        own = [
            child for child in children if child.path == self._path(RUN_FILE_NAME) and isinstance(child, BucketFile)
        ]
        return marks, unmarked, self._run_file(own[0]) if own else None

    def _run_file(self, file: BucketFile) -> RunFile | BrokenCheckpointError:
        if file.size > MAX_RUN_FILE_BYTES:
            return BrokenCheckpointError(f"{self.address}/{RUN_FILE_NAME} has {file.size} bytes, which is too many")
        content = self.read_small(file)
        try:
            return content if isinstance(content, Exception) else RunFile.from_json(content)
        except BrokenCheckpointError as error:
            return error

    def read_small(self, file: BucketFile) -> "bytes | BrokenCheckpointError":
        """The content of one of the small files at the root of the run, or what is wrong with it."""
        (content,) = self._download({file.path.rsplit("/", 1)[-1]: file}).values()
        return content

    def _download(self, files: dict[str, BucketFile]) -> dict[str, "bytes | BrokenCheckpointError"]:
        """The contents of small files, by their path in the run, each verified."""
        wanted = {path: FileRecord(file.size, file.xet_hash) for path, file in files.items()}
        with tempfile.TemporaryDirectory(prefix="bucket-") as folder:
            fetch(self.api, self.address, Manifest(step=0, files=wanted), Path(folder), quiet=True)
            arrived = hash_files({path: Path(folder, path) for path in wanted})
            return {
                path: Path(folder, path).read_bytes() if arrived[path] == record else _garbled(path)
                for path, record in wanted.items()
            }

    def _manifests(self, marks: Iterable[BucketFile]) -> dict[str, "Manifest | BrokenCheckpointError"]:
        """What the manifests of checkpoints say, or what is wrong with them, by the name of the checkpoint."""
        manifests = {
            self._name(mark): BrokenCheckpointError(f"the manifest has {mark.size} bytes, which is too many")
            for mark in marks
        }
        small = {f"{self._name(mark)}/{MANIFEST_NAME}": mark for mark in marks if mark.size <= MAX_MANIFEST_BYTES}
        for path, content in self._download(small).items():
            name = path.split("/")[0]
            try:
                manifests[name] = content if isinstance(content, Exception) else Manifest.from_json(content)
            except BrokenCheckpointError as error:
                manifests[name] = error
        return manifests

    def _ordered(self, marks: Iterable[BucketFile]) -> list[tuple[BucketFile, "Manifest | BrokenCheckpointError"]]:
        """Manifests in the order of their commits: by place; by the time of the Hub where format 1 had none, or two tie."""
        manifests = self._manifests(marks)
        placed, highest = [], Place()
        for mark in marks:  # in the order of their upload
            manifest = manifests[self._name(mark)]
            # One that cannot be read stands where the Hub's time puts it: it may be the latest.
            place = manifest.place if isinstance(manifest, Manifest) else highest
            highest = max(highest, place)
            placed.append((place, mark, manifest))
        return [(mark, manifest) for _, mark, manifest in sorted(placed, key=lambda found: found[0])]

    def _judged(
        self, found: Iterable[tuple[BucketFile, "Manifest | BrokenCheckpointError"]]
    ) -> list[RemoteCheckpoint]:
        """Compare what manifests name with what is there."""
        found = list(found)
        named = [
            self._path(self._name(mark), path)
            for mark, manifest in found
            if isinstance(manifest, Manifest)
            for path in manifest.files
        ]
        there: dict[str, dict[str, FileRecord]] = {self._name(mark): {} for mark, _ in found}
        for file in self.api.get_bucket_paths_info(self.address.bucket_id, named):
            name, _, path = file.path[len(self._path("x")) - 1 :].partition("/")
            there[name][path] = FileRecord(file.size, file.xet_hash)
        return [self._judge(mark, manifest, there[self._name(mark)]) for mark, manifest in found]

    def _judge(self, mark: BucketFile, manifest: "Manifest | BrokenCheckpointError", there: dict) -> RemoteCheckpoint:
        name = self._name(mark)
        if not isinstance(manifest, Manifest):
            return RemoteCheckpoint(name, "broken", mark.uploaded_at, problems=(str(manifest),))
        problems = tuple(manifest.differences(there))
        if any(record.xet_hash is None for record in manifest.files.values()):
            problems = ("its manifest is that of a local disk: it was copied here, not pushed", *problems)
        if manifest.step != step_of(name):
            problems = (f"the manifest is that of step {manifest.step}", *problems)
        return RemoteCheckpoint(name, "broken" if problems else "committed", mark.uploaded_at, manifest, problems)

    def _newest(
        self, ordered: Sequence[tuple[BucketFile, "Manifest | BrokenCheckpointError"]], passed_over: list[str]
    ) -> RemoteCheckpoint | None:
        """The committed one of the highest place among these; what is passed over on the way there is added to the list."""
        for index in reversed(range(len(ordered))):
            (checkpoint,) = self._judged([ordered[index]])
            if checkpoint.state != "committed":
                passed_over.append(f"{checkpoint.name} is broken ({', '.join(checkpoint.problems[:3])})")
                continue
            place = checkpoint.manifest.place
            passed_over += [
                f"{self._name(mark)} has the same place in the run ({place.number}) but reached the Hub earlier"
                for mark, other in ordered[:index]
                if place.number and isinstance(other, Manifest) and other.place == place
            ]
            return checkpoint
        return None

    def _since(self, marks: Sequence[BucketFile], run_file: object) -> Sequence[BucketFile]:
        """
        Those manifests among which the highest place must be, so that the others need not be read.

        The file of the run says which one it was when it was written. What is later than that has come since; what is of a
        higher step may have been copied in by somebody. In a copy of the run the times of its files say nothing.
        """
        if not isinstance(run_file, RunFile) or run_file.address != str(self.address):
            return marks
        known = [mark.uploaded_at for mark in marks if self._name(mark) == run_file.latest]
        if not known:
            return marks
        step = step_of(run_file.latest)
        return [mark for mark in marks if mark.uploaded_at >= known[0] or step_of(self._name(mark)) > step]

    def _holds(self, run_file: RunFile, since: Sequence[tuple], chosen: RemoteCheckpoint | None) -> bool:
        """Whether what the file of the run names is still what it was: neither broken nor pushed again, with another time."""
        places = [
            manifest.place
            for mark, manifest in since
            if self._name(mark) == run_file.latest and isinstance(manifest, Manifest)
        ]
        return places == [run_file.place] and chosen is not None and chosen.manifest.place >= run_file.place

    def _unmarked(self, name: str, files: list[BucketFile]) -> RemoteCheckpoint:
        manifest = Manifest(step=step_of(name), files=self._records(files, name))
        if SENTINEL_NAME in manifest.files:
            return RemoteCheckpoint(name, "broken", problems=("it was not written to its end",))
        try:
            check_paths(manifest.files)
        except BrokenCheckpointError as error:
            return RemoteCheckpoint(name, "broken", problems=(str(error),))
        return RemoteCheckpoint(name, "unmarked", manifest=manifest)


def _garbled(path: str) -> BrokenCheckpointError:
    what = "the manifest" if path.endswith(MANIFEST_NAME) else path
    return BrokenCheckpointError(f"{what} has another content (wrong hash)")
