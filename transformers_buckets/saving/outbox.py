"""The outbox: hard-linked copies of checkpoints on local disk that wait for their push.

Whatever happens to the original folder, rotation, deletion or a second save of the same step, the copy stays as it was.
It also outlives the process: what a crash left is found at the next start.
"""

import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from ..bucket.contents import vital_files
from ..bucket.errors import BrokenCheckpointError, BucketError
from ..bucket.files import WORK_FOLDER, scan, stamp, work_folder
from ..bucket.manifest import MANIFEST_NAME, Manifest, Place
from ..bucket.run_file import Writer
from .entry import LABEL, ChangedOnDiskError, OutboxEntry
from .memory_folder import MemoryFolder


logger = logging.getLogger(__name__)

_SMALL = 1024 * 1024  # bytes; below this a copy costs about as much as a link


class Outbox:
    """
    The outbox of one run.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run. The outbox is in there, on the file system of the checkpoints, so that links are possible.
        address (`str`):
            The run its entries are meant for.
    """

    def __init__(self, output_dir: str | Path, address: str):
        self.output_dir = Path(output_dir)
        self.folder = self.output_dir / WORK_FOLDER / "outbox"
        self.address = address
        self.memory = MemoryFolder()  # for checkpoints that touch no disk
        self.writer = Writer.here()
        self._small = _SMALL
        self._sequence = 0
        self._alive: FileLock | None = None
        self._training: FileLock | None = None

    def add(self, files: Mapping[str, Path], name: str, manifest: Manifest | None = None) -> OutboxEntry:
        """[`~Outbox.open`], [`~Outbox.fill`] and [`~Outbox.seal`] at once."""
        return self.seal(self.fill(self.open(name), files), manifest)

    def name_of(self, folder: str | Path) -> str:
        """What a copy of a checkpoint is called: the path of the original below `output_dir`."""
        return Path(folder).relative_to(self.output_dir).as_posix()

    def open(self, name: str) -> OutboxEntry:
        """
        Make room for a copy. Without [`~Outbox.seal`] it is dropped at the next start.

        Args:
            name (`str`):
                Path of the original below `output_dir`; `""` for its root.

        Raises:
            `OSError`: If the disk is full or cannot be written.
            [`BucketError`]: If the folder of the outbox is a link.
        """
        if self._alive is None:
            alive = self._lock(self.writer.id)
            alive.acquire()  # until this process ends, however it ends
            self._alive = alive
        self._sequence += 1
        entry = OutboxEntry(self.folder / f"{self.writer.id}-{self._sequence:06d}", name, self.address, {})
        os.makedirs(entry.folder)
        return entry

    def fill(self, entry: OutboxEntry, files: Mapping[str, Path]) -> OutboxEntry:
        """
        Let a copy have what its original has now. Large files are linked, which costs nothing. Small ones, which others
        rewrite in place, are copied, and so is all where links are not possible.

        Args:
            entry ([`OutboxEntry`]):
                The copy. What it has already and did not change is left as it is.
            files (`Mapping[str, Path]`):
                Files of the original, by their path in it.

        Returns:
            [`OutboxEntry`]: The copy as it is then.

        Raises:
            `OSError`: If the disk is full or cannot be written, or a file is gone. The copy is dropped then.
        """
        stamps, linked = {}, set(entry.linked & files.keys())
        try:
            for path, file in files.items():
                copy = entry.folder / path
                # Beside the checkpoints there are files of other programs, which come and go.
                with suppress(FileNotFoundError) if not entry.name else nullcontext():
                    if file != copy and entry.stamps.get(path) != stamp(file):
                        copy.unlink(missing_ok=True)
                        _take(file, copy, self._small)
                        (linked.add if copy.samefile(file) else linked.discard)(path)
                    stamps[path] = stamp(copy)
            for path in entry.stamps.keys() - stamps.keys():
                (entry.folder / path).unlink()
        except OSError:
            shutil.rmtree(entry.place, ignore_errors=True)
            raise
        return replace(entry, stamps=stamps, linked=frozenset(linked))

    def check(self, entry: OutboxEntry) -> None:
        """As [`OutboxEntry.check_unchanged`]. Where a link was no good, nothing is linked any more: one loss is enough."""
        try:
            entry.check_unchanged()
        except ChangedOnDiskError:
            if entry.linked and self._small < math.inf:
                self._small = math.inf
                why = "somebody writes into what is saved there, or the file system changes the times of files"
                logger.warning(f"Checkpoints in {self.output_dir} are copied from now on, at each save: {why}.")
            raise

    def seal(self, entry: OutboxEntry, manifest: Manifest | None = None) -> OutboxEntry:
        """
        Make a copy one that outlives this process.

        Args:
            entry ([`OutboxEntry`]):
                The copy, filled.
            manifest ([`Manifest`], *optional*):
                What it consists of and where it stands in its run.

        Raises:
            `OSError`: If the disk is full or cannot be written. The copy is dropped then.
        """
        entry = replace(entry, manifest=manifest)
        try:
            entry.write()
        except OSError:
            shutil.rmtree(entry.place, ignore_errors=True)
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
        self._make_folder()
        with TemporaryDirectory(dir=self.folder, prefix=f"{self.writer.id}-") as folder:
            held = {}
            for path, file in files.items():
                with suppress(FileNotFoundError):
                    _take(file, Path(folder, path))
                    held[path] = Path(folder, path)
            yield held

    def remove(self, entry: OutboxEntry) -> None:
        """Forget an entry and free its place, in memory as well."""
        if entry.memory:
            entry.memory.release()
        # Without its label a half removed entry is not taken for a whole one.
        with suppress(OSError):  # what cannot be removed now is dropped at the next start
            (entry.place / LABEL).unlink()
        shutil.rmtree(entry.place, ignore_errors=True)

    def set_aside(self, entry: OutboxEntry) -> Path:
        """Put an entry where nobody takes it for one that can be pushed, and say where. Only the last one is kept."""
        aside = self.folder.with_name("set_aside") / "not_pushed"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            return entry.folder.rename(aside / entry.folder.name)
        except OSError:  # it was deleted, or somebody has it open
            return entry.folder
        finally:
            self.remove(entry)

    def begin(self) -> None:
        """
        Let no other training write into the folder of the run, until [`~Outbox.release`].

        Raises:
            [`BucketError`]: If one does.
        """
        if self._training is not None:
            return
        self._make_folder()
        lock = FileLock(self.folder.parent / "training.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BucketError(
                f"Another training writes to {self.output_dir}, and the two would mix: end it, or give this one an "
                "output_dir of its own."
            ) from None
        self._training = lock

    def release(self) -> None:
        """Let whoever comes next on this disk have what is left, and give memory back."""
        self.memory.release()
        for lock in filter(None, (self._training, self._alive)):
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        self._training = self._alive = None
        with suppress(OSError):  # something is left, or somebody else is at work
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def leftovers(self) -> list[OutboxEntry]:
        """
        What earlier processes left, in the order of the run. Incomplete copies are dropped; those for other runs, and of a
        process that is still at work, let be.
        """
        places = sorted(self.folder.glob("*-*")) if self.folder.is_dir() else []
        writers = {place.name.rpartition("-")[0] for place in places} - {self.writer.id}
        dead = {writer for writer in writers if self._is_dead(writer)}
        for writer in writers - dead:
            logger.warning(f"Another process is pushing from {self.folder}; what it saved ({writer}) is left to it.")
        entries = []
        for place in [place for place in places if place.name.rpartition("-")[0] in dead]:
            try:
                entry = OutboxEntry.read(place)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, BrokenCheckpointError):
                shutil.rmtree(place, ignore_errors=True)
                continue
            if entry.address != self.address:
                logger.warning(f"{place} waits for a push to {entry.address} since an earlier run; it is left alone.")
                continue
            entries.append(entry)
        return sorted(entries, key=lambda entry: (entry.manifest.place if entry.manifest else Place(), entry.place))

    def _make_folder(self) -> None:
        work_folder(self.output_dir)
        self.folder.mkdir(exist_ok=True)

    def _lock(self, writer: str) -> FileLock:
        self._make_folder()
        # Taken on the writer of `async_save`, given back on the training thread.
        return FileLock(self.folder.parent / f"{writer}.lock", thread_local=False)

    def _is_dead(self, writer: str) -> bool:
        lock = self._lock(writer)
        try:
            with lock.acquire(timeout=0):
                Path(lock.lock_file).unlink()
        except Timeout:
            return False
        return True


def worth_pushing(leftover: Manifest, run: str | None, latest: Manifest | None) -> bool:
    """
    Whether a copy that a crash left still belongs at the end of its run.

    Args:
        leftover ([`Manifest`]):
            The copy.
        run (`str`, *optional*):
            Id of the run in the bucket; `None` if there is none.
        latest ([`Manifest`], *optional*):
            The latest committed checkpoint of that run.
    """
    return leftover.run == run and (latest is None or leftover.comes_after(latest))


def detach(folder: str | Path) -> None:
    """
    Make way for a save into a folder that is there already: whatever transformers is about to write anew goes.

    The rest of an earlier save would be taken for part of this one, and what shares its content with a copy in the outbox
    would change there as well.
    """
    Path(folder, MANIFEST_NAME).unlink(missing_ok=True)  # first: without it the folder is not taken for whole
    files = scan(folder)
    vital = set(vital_files(files))
    for path, file in files.items():
        if path in vital or file.stat().st_nlink > 1:
            file.unlink()


def _take(source: Path, target: Path, small: float = _SMALL) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()  # a link to a link would follow whatever the first one follows
    if source.stat().st_size > small:
        with suppress(OSError):  # a file system without links
            return os.link(source, target)
    shutil.copy2(source, target)
