"""The outbox: hard-linked copies of checkpoints on local disk that wait for their push.

Whatever happens to the original folder, rotation, deletion or a second save of the same step, the copy stays as it was.
It also outlives the process: what a crash left is found at the next start.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from ..bucket.errors import BrokenCheckpointError
from ..bucket.files import scan, stamp
from ..bucket.manifest import PushId


logger = logging.getLogger(__name__)

_LABEL = "entry.json"


class ChangedOnDiskError(BrokenCheckpointError):
    """What was saved is not there any more."""


@dataclass(frozen=True)
class OutboxEntry:
    """
    One copy waiting for its push.

    Args:
        place (`Path`):
            Its folder in the outbox; goes when the entry goes.
        name (`str`):
            Path of the original below `output_dir`, such as `checkpoint-500` or `run-0/checkpoint-5`; `""` for the files
            at the root of the run.
        address (`str`):
            The run it is meant for.
        push_id ([`PushId`]):
            Which process saved it, and in which order.
        after (`Sequence[PushId | None]`):
            What may be committed last if nobody else went on: what was when that process began (`None` for nothing), and
            the leftovers of earlier ones that it pushed.
        since (`float`, *optional*, defaults to 0.0):
            When the first of these was committed, in seconds since 1970 by the clock of the Hub.
        stamps (`Mapping[str, tuple[int, int]]`):
            Size in bytes and time of change in nanoseconds of every file when the copy was taken.
        world_size (`int`, *optional*):
            Number of processes that trained.
        best_checkpoint (`str`, *optional*):
            Name of the best checkpoint when it was saved.
    """

    place: Path
    name: str
    address: str
    push_id: PushId
    after: Sequence[PushId | None]
    stamps: Mapping[str, tuple[int, int]] = field(repr=False)
    world_size: int | None = None
    best_checkpoint: str | None = None
    since: float = 0.0

    @property
    def folder(self) -> Path:
        """The folder with the files; its last part is that of the original."""
        return self.place / (self.name or "root")

    def check_unchanged(self) -> None:
        """
        Make sure that nobody wrote into the linked files since the copy was taken.

        Raises:
            [`ChangedOnDiskError`]: If somebody did. A hard link has one content under two names.
        """
        now = {path: stamp(file) for path, file in scan(self.folder).items()}
        changed = [path for path, stamp in self.stamps.items() if now.get(path) != tuple(stamp)]
        if changed:
            raise ChangedOnDiskError(
                f"{', '.join(changed[:3])} of {self.name or 'the root'} changed on disk after it was saved, "
                "so what was saved cannot be pushed any more"
            )


class Outbox:
    """
    The outbox of one run.

    Args:
        folder (`str` or `Path`):
            Where it is; on the file system of the checkpoints, so that links are possible.
        address (`str`):
            The run its entries are meant for.
    """

    def __init__(self, folder: str | Path, address: str):
        self.folder = Path(folder)
        self.address = address
        self.writer = uuid.uuid4().hex
        self.after: list[PushId | None] = [None]
        self.since = 0.0
        self._sequence = 0
        self._alive: FileLock | None = None

    def add(
        self, files: Mapping[str, Path], name: str, world_size: int | None = None, best_checkpoint: str | None = None
    ) -> OutboxEntry:
        """
        Take a copy of files: by hard links, which cost nothing, or by content where links are not possible.

        Args:
            files (`Mapping[str, Path]`):
                Files by their path in the copy.
            name (`str`):
                Path of the original below `output_dir`; `""` for its root.
            world_size (`int`, *optional*):
                Number of processes that trained.
            best_checkpoint (`str`, *optional*):
                Name of the best checkpoint so far.

        Returns:
            [`OutboxEntry`]

        Raises:
            `OSError`: If the disk is full or cannot be written.
        """
        if self._alive is None:
            self._alive = self._lock(self.writer)
            self._alive.acquire()  # until this process ends, however it ends
        self._sequence += 1
        place = self.folder / f"{self.writer}-{self._sequence:06d}"
        folder = place / (name or "root")
        os.makedirs(folder)
        stamps = {}
        try:
            for path, file in files.items():
                # Beside the checkpoints there are files of other programs, which come and go.
                with nullcontext() if name else suppress(FileNotFoundError):
                    _link(file, folder / path)
                    stamps[path] = stamp(folder / path)
            entry = OutboxEntry(
                place=place,
                name=name,
                address=self.address,
                push_id=PushId(self.writer, self._sequence),
                after=tuple(self.after),
                stamps=stamps,
                world_size=world_size,
                best_checkpoint=best_checkpoint,
                since=self.since,
            )
            # The label comes last: without all of it the copy is not complete and is dropped at the next start.
            (place / _LABEL).write_bytes(json.dumps({**vars(entry), "place": None}).encode())
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return entry

    @contextmanager
    def hold(self, files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
        """
        Keep files of other programs from vanishing meanwhile. Those that have vanished already are left out.

        Args:
            files (`Mapping[str, Path]`):
                Files by any path.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder, prefix=f"{self.writer}-") as folder:
            held = {}
            for path, file in files.items():
                with suppress(FileNotFoundError):
                    _link(file, Path(folder, path))
                    held[path] = Path(folder, path)
            yield held

    def remove(self, entry: OutboxEntry) -> None:
        """Forget an entry and free its place."""
        # Without its label a half removed entry is not taken for a whole one.
        with suppress(OSError):  # what cannot be removed now is dropped at the next start
            (entry.place / _LABEL).unlink()
        shutil.rmtree(entry.place, ignore_errors=True)

    def order(self, entry: OutboxEntry) -> tuple[bool, int]:
        """Grows with each save of this process, before which come those of others."""
        return entry.push_id.writer == self.writer, entry.push_id.sequence

    def set_aside(self, entry: OutboxEntry) -> Path:
        """
        Put an entry where nobody takes it for one that can be pushed. Only the last one of these is kept.

        Returns:
            `Path`: Where its files are now.
        """
        aside = self.folder.with_name("set-aside")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            return entry.folder.rename(aside / entry.folder.name)
        except OSError:  # it was deleted, or somebody has it open
            return entry.folder
        finally:
            self.remove(entry)

    def release(self) -> None:
        """Let whoever comes next on this disk have what is left."""
        if self._alive is not None:
            Path(self._alive.lock_file).unlink(missing_ok=True)
            self._alive.release()
            self._alive = None

    def leftovers(self) -> list[OutboxEntry]:
        """
        What earlier processes left, oldest first. Incomplete copies are dropped, those for other runs let be.

        So are those of a process that is still at work.
        """
        places = sorted(self.folder.glob("*-*")) if self.folder.is_dir() else []
        writers = {place.name.rpartition("-")[0] for place in places} - {self.writer}
        dead = {writer for writer in writers if self._is_dead(writer)}
        for writer in writers - dead:
            logger.warning(f"Another process is pushing from {self.folder}; what it saved ({writer}) is left to it.")
        entries = []
        for place in places:
            if place.name.rpartition("-")[0] not in dead:
                continue
            try:
                label = json.loads((place / _LABEL).read_text())
                label.update(
                    place=place,
                    push_id=PushId(*label["push_id"]),
                    after=tuple(push_id and PushId(*push_id) for push_id in label["after"]),
                    stamps={path: tuple(stamp) for path, stamp in label["stamps"].items()},
                )
                entry = OutboxEntry(**label)
            except (OSError, ValueError, TypeError, KeyError):
                shutil.rmtree(place, ignore_errors=True)
                continue
            if entry.address != self.address:
                logger.warning(f"{place} waits for a push to {entry.address} since an earlier run; it is left alone.")
                continue
            entries.append(entry)
        return sorted(entries, key=lambda entry: ((entry.place / _LABEL).stat().st_mtime_ns, entry.push_id))

    def _lock(self, writer: str) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder.parent / f"{writer}.lock")

    def _is_dead(self, writer: str) -> bool:
        lock = self._lock(writer)
        try:
            with lock.acquire(timeout=0):
                Path(lock.lock_file).unlink()
        except Timeout:
            return False
        return True


def worth_pushing(leftover: OutboxEntry, committed_last: PushId | None) -> bool:
    """
    Whether a copy that a crash left still belongs at the end of its run.

    It does if nobody committed anything since its process began, except that process itself, and earlier.

    Args:
        leftover ([`OutboxEntry`]):
            The copy.
        committed_last ([`PushId`], *optional*):
            Which push committed the newest checkpoint of the run; `None` if it was adopted.
    """
    if committed_last is not None and committed_last.writer == leftover.push_id.writer:
        return committed_last.sequence < leftover.push_id.sequence
    return committed_last in leftover.after


def detach(folder: str | Path) -> None:
    """
    Part a folder from the copies of it, before somebody writes into it again.

    Files that share their content with a copy are unlinked here: a new save creates them anew instead of writing through
    the link into the copy.
    """
    for file in scan(folder).values():
        if file.stat().st_nlink > 1:
            file.unlink()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if not source.exists():
            raise
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
            return _link(source, target)
        logger.debug(f"no hard link to {source} ({error}): copying")
        shutil.copy2(source, target)
