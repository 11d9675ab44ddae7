"""A run on several disks: what its ranks agree on, with the threads that train, at a start and at each save."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import gather_object
from torch.distributed import TCPStore

from .bucket.address import BucketAddress
from .bucket.errors import BrokenCheckpointError, BucketError
from .bucket.files import list_files, measure, write_manifest
from .bucket.hub_client import reason
from .bucket.manifest import FileRecord, Manifest
from .bucket.patience import TIMEOUT
from .ranks import add_note, together
from .saving.entry import OutboxEntry
from .saving.keeper import PartKeeper
from .saving.outbox import Outbox
from .saving.parts import Disk, PartCollector
from .saving.uploader import Uploader


logger = logging.getLogger(__name__)

# Seconds for which a rank whose training broke off goes on sending what rank zero asks for.
_LAST_WORDS = 30.0
_REACHABLE = timedelta(seconds=5)


class Spread:
    """
    Brings together what ranks save to disks that rank zero does not see. All ranks must make one, and the same calls.

    Args:
        address ([`BucketAddress`]):
            The run.
        output_dir (`str`):
            Its folder on local disk.
        first_ranks (`Sequence[int]`):
            For each rank, the first of those that see the same disk.
        uploader ([`Uploader`], *optional*):
            That of rank zero.
        token (`str`, *optional*):
            Token for the Hub.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub, and a node, is given up.
    """

    def __init__(
        self,
        address: BucketAddress,
        output_dir: str,
        first_ranks: Sequence[int],
        uploader: Uploader | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT,
    ):
        self.uploader = uploader
        self.rank = PartialState().process_index
        hosts = gather_object([socket.gethostname()])
        self.disks = [
            Disk([rank for rank, first in enumerate(first_ranks) if first == disk], hosts[disk])
            for disk in sorted(set(first_ranks))
        ]
        self.disk = next(disk for disk in self.disks if self.rank in disk.ranks)

        def open_channel() -> tuple[str, int]:
            uploader.parts = PartCollector(os.environ.get("MASTER_ADDR", hosts[0]), timeout)
            uploader.parts.disks = self.disks[1:]
            return uploader.parts.endpoint

        self._endpoint = together(open_channel if uploader else None)[0]
        self.keeper: PartKeeper | None = None
        if self.rank and first_ranks[self.rank] == self.rank:
            self.keeper = PartKeeper(self._endpoint, self.rank, Outbox(output_dir, str(address)), token, timeout)
        if uploader:
            others = "; ".join(map(str, self.disks[1:]))
            logger.info(f"{len(self.disks)} disks hold {output_dir}. The files of {others} are sent from there.")

    def begin(self, take_over: Callable[[], tuple[str | None, bool]], with_checkpoints: bool = False) -> tuple:
        """
        Let rank zero take the run over, knowing what earlier processes left on all disks.

        Args:
            take_over (`Callable`):
                What rank zero does.
            with_checkpoints (`bool`, *optional*, defaults to `False`):
                Whether checkpoints on local disk count as well, besides what waits for its push.

        Returns:
            `tuple`: What came of it, on all ranks.
        """

        def decide() -> tuple:
            self.uploader.parts.left = {
                push_id: {path for there in left for path in there.get(push_id, ())} for one in left for push_id in one
            }
            return take_over(), self.uploader.leftovers

        with self._keeping():
            left = together((lambda: self.keeper.begin(with_checkpoints)) if self.keeper else dict)
            decided = together(decide if self.uploader else None)
            together((lambda: self.keeper.keep_only(decided[0][1])) if self.keeper else None)
        return decided[0][0]

    def seal(
        self,
        folder: str,
        draft: Callable[[], Manifest],
        seal: Callable[[Manifest, dict[str, FileRecord]], OutboxEntry],
    ) -> OutboxEntry | None:
        """
        Fix what a checkpoint consists of, on all disks together, and keep the part of this one for rank zero to ask for.

        The ranks tell each other once what there is; each of them comes to the same manifest then. If rank zero finds that
        the checkpoint is not whole, it lets the others forget it.

        Args:
            folder (`str`):
                The checkpoint.
            draft (`Callable`):
                On rank zero: gives it its place in the run.
            seal (`Callable`):
                On rank zero: does so for its own disk, given the place, and what there is on others.

        Returns:
            [`OutboxEntry`], *optional*: On rank zero, the part of its disk; `None` if the checkpoint cannot be pushed.
        """
        with self._keeping():
            held, mine = self._hold(folder)
            gathered = gather_object([(mine, draft() if self.uploader else None)])
            listings, manifest = [listing for listing, _ in gathered], gathered[0][1]
            if held:
                self._keep(folder, held, manifest, listings)
        if not self.uploader:
            return None
        entry = None
        try:
            entry = self.uploader.seal(folder, lambda: seal(manifest, self._elsewhere(listings)))
        finally:
            if entry is None:
                self.uploader.parts.drop(manifest.push_id)
        return entry

    def finish(self, finish: Callable[[], None]) -> None:
        """
        Let rank zero wait until everything has landed, while the others send what it asks for.

        Args:
            finish (`Callable`):
                What rank zero does.

        Raises:
            [`BucketError`]: If something is missing, on all ranks.
        """

        def finish_all() -> None:
            error = None
            try:
                finish()
            except BaseException as raised:
                error = f"{type(raised).__name__}: {raised}"
                raise
            finally:
                self.uploader.parts.end(error)

        together(finish_all if self.uploader else self._send_what_is_asked_for if self.keeper else None)

    def break_off(self, error: BaseException) -> None:
        """
        Let the others know that training broke off here, and add to the error where that began.

        Args:
            error (`BaseException`):
                What ended the training here.
        """
        if self.uploader:
            self.uploader.parts.begin_to_end()
        here = f"{self.disk.host} (rank {self.rank}): {type(error).__name__}: {reason(error)}"
        try:
            store = TCPStore(*self._endpoint, is_master=False, timeout=_REACHABLE)
            first = store.compare_set("broke off", "", here).decode()
        except RuntimeError:
            return add_note(error, f"{self.disks[0]} cannot be reached any more.")
        if first != here:
            add_note(error, f"Training broke off on {first}")

    def last_words(self, error: BaseException) -> None:
        """
        Send what rank zero still asks for when training breaks off, for a while, and add to the error what it says.

        Args:
            error (`BaseException`):
                What ended the training here.
        """
        if self.keeper:
            told = self.keeper.last_words(_LAST_WORDS)
            if told:
                add_note(error, f"rank 0 failed: {told}")
            self.keeper.outbox.release()

    def _keeping(self) -> AbstractContextManager:
        """What rank zero asks for in this context is sent when the context is left: this disk may be later with it."""
        return self.keeper.keeping if self.keeper else nullcontext()

    def _send_what_is_asked_for(self) -> None:
        try:
            self.keeper.wait_for_end()
        finally:
            self.keeper.outbox.release()

    def _hold(self, folder: str) -> tuple[OutboxEntry | None, dict[str, int] | str]:
        """Copy what is on this disk, if this rank is the one to do so; and its files, or why that cannot be."""
        if not (self.uploader or self.keeper):
            return None, {}
        try:
            files = list_files(folder) if os.path.isdir(folder) else {}
            sizes = {path: record.size for path, record in measure(files).items()}
            if self.uploader:  # it has held them already
                return None, sizes
            outbox = self.keeper.outbox
            return outbox.fill(outbox.open(outbox.name_of(folder)), files), sizes
        except (OSError, BucketError) as error:
            return None, reason(error)

    def _elsewhere(self, listings: Sequence[dict[str, int] | str]) -> dict[str, FileRecord]:
        """What other disks have that the first one lacks."""
        problems = [
            f"{disk}: {listings[disk.ranks[0]]}" for disk in self.disks if isinstance(listings[disk.ranks[0]], str)
        ]
        if problems:
            raise BrokenCheckpointError(f"not every disk has its part of it. {'; '.join(problems)}")
        return {path: record for path, record in _all(listings).items() if path not in listings[0]}

    def _keep(
        self, folder: str, held: OutboxEntry, manifest: Manifest, listings: Sequence[dict[str, int] | str]
    ) -> None:
        outbox = self.keeper.outbox
        if any(isinstance(listing, str) for listing in listings):
            return outbox.remove(held)
        manifest = replace(manifest, files=_all(listings))
        before = {path for listing in listings[: self.rank] for path in listing}
        try:
            own = {path: held.folder / path for path in held.stamps.keys() - before}
            part = outbox.seal(outbox.fill(held, own), manifest)
            if os.path.isdir(folder):  # else it was deleted already, but not the copy
                write_manifest(folder, manifest)
        except OSError as error:
            outbox.remove(held)
            return self.keeper.fail(manifest.push_id, error)
        self.keeper.keep(part)


def _all(listings: Sequence[dict[str, int]]) -> dict[str, FileRecord]:
    """The files on all disks. What several have, the first one sends."""
    return {path: FileRecord(size) for listing in reversed(listings) for path, size in listing.items()}
