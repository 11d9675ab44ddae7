"""A run on several disks: what its ranks agree on, with the threads that train, at a start and at each save."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object

from .bucket.address import BucketAddress
from .bucket.errors import BrokenCheckpointError, BucketError
from .bucket.files import list_files, measure, write_manifest
from .bucket.hub_client import reason
from .bucket.manifest import FileRecord, Manifest
from .ranks import together
from .saving.entry import OutboxEntry
from .saving.outbox import Outbox
from .saving.parts import Disk, PartCollector, PartKeeper
from .saving.uploader import Uploader


logger = logging.getLogger(__name__)

# Seconds for which a rank whose training broke off goes on sending what rank zero asks for.
_LAST_WORDS = 30.0


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
    """

    def __init__(
        self,
        address: BucketAddress,
        output_dir: str,
        first_ranks: Sequence[int],
        uploader: Uploader | None = None,
        token: str | None = None,
    ):
        self.output_dir = output_dir
        self.uploader = uploader
        self.rank = PartialState().process_index
        hosts = gather_object([socket.gethostname()])
        self.disks = [
            Disk([rank for rank, first in enumerate(first_ranks) if first == disk], hosts[disk])
            for disk in sorted(set(first_ranks))
        ]

        def open_channel() -> tuple[str, int]:
            uploader.parts = PartCollector(os.environ.get("MASTER_ADDR", hosts[0]))
            uploader.parts.disks = self.disks[1:]
            return uploader.parts.endpoint

        endpoint = together(open_channel if uploader else None)[0]
        self.keeper: PartKeeper | None = None
        if self.rank and first_ranks[self.rank] == self.rank:
            self.keeper = PartKeeper(endpoint, self.rank, Outbox(output_dir, str(address)), token)
        if uploader:
            others = "; ".join(map(str, self.disks[1:]))
            logger.info(f"{len(self.disks)} disks hold {output_dir}. The files of {others} are sent from there.")

    def begin(self, take_over: Callable[[], tuple[str | None, bool]]) -> list:
        """
        Let rank zero take the run over, knowing what earlier processes left on all disks.

        Args:
            take_over (`Callable`):
                What rank zero does.

        Returns:
            `list`: What came of it, by rank.
        """
        if self.keeper:
            for entry in self.keeper.outbox.leftovers():
                self.keeper.keep(entry) if entry.manifest else self.keeper.outbox.remove(entry)
        left = gather_object([self.keeper.left() if self.keeper else {}])
        wanted = []

        def decide():
            self.uploader.parts.left = {
                push_id: {path for there in left for path in there.get(push_id, ())} for one in left for push_id in one
            }
            result = take_over()
            wanted.extend(self.uploader.leftovers)
            return result

        results = together(decide if self.uploader else None)
        wanted = gather_object([wanted])[0]
        if self.keeper:
            self.keeper.forget_all_but(wanted)
        return results

    def seal(self, folder: str, seal: Callable[[dict[str, FileRecord]], OutboxEntry]) -> OutboxEntry | None:
        """
        Fix what a checkpoint consists of, on all disks together, and keep the part of this one for rank zero to ask for.

        Args:
            folder (`str`):
                The checkpoint.
            seal (`Callable`):
                On rank zero: does so for its own disk, given what there is on others.

        Returns:
            [`OutboxEntry`], *optional*: On rank zero, the part of its disk; `None` if the checkpoint cannot be pushed.
        """
        held, mine = self._hold(folder)
        gathered = gather_object([mine])
        entry, error = None, None
        try:
            if self.uploader:
                entry = self.uploader.seal(folder, lambda: seal(self._elsewhere(gathered)))
        except BaseException as raised:  # the others wait to be told
            error = raised
        content = gather_object([entry and entry.manifest.to_json()])[0]
        if error:
            raise error
        if held:
            self._keep(folder, held, content and Manifest.from_json(content), gathered)
        return entry

    def finish(self, finish: Callable[[], None]) -> None:
        """
        Let rank zero wait until everything has landed, while the others send what it asks for.

        Args:
            finish (`Callable`):
                What rank zero does.
        """

        def finish_all() -> None:
            try:
                finish()
            finally:
                self.uploader.parts.end()

        together(finish_all if self.uploader else self._send_what_is_asked_for if self.keeper else None)

    def finish_after_error(self) -> None:
        """Send what rank zero still asks for when training breaks off, for a while."""
        if self.uploader:
            self.uploader.parts.end()
        elif self.keeper:
            self._send_what_is_asked_for(_LAST_WORDS)

    def _send_what_is_asked_for(self, seconds: float | None = None) -> None:
        self.keeper.wait_for_end(seconds)
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
            return outbox.fill(outbox.open(Path(folder).relative_to(self.output_dir).as_posix()), files), sizes
        except (OSError, BucketError) as error:
            return None, reason(error)

    def _elsewhere(self, gathered: Sequence[dict[str, int] | str]) -> dict[str, FileRecord]:
        """What other disks have that the first one lacks."""
        problems = [
            f"{disk}: {gathered[disk.ranks[0]]}" for disk in self.disks if isinstance(gathered[disk.ranks[0]], str)
        ]
        if problems:
            raise BrokenCheckpointError(f"not every disk has its part of it. {'; '.join(problems)}")
        sizes = {path: size for listing in reversed(gathered) for path, size in listing.items()}
        return {path: FileRecord(size) for path, size in sizes.items() if path not in gathered[0]}

    def _keep(self, folder: str, held: OutboxEntry, manifest: Manifest | None, gathered: Sequence[dict]) -> None:
        outbox = self.keeper.outbox
        if manifest is None:
            return outbox.remove(held)
        before = {path for listing in gathered[: self.rank] for path in listing}
        try:
            own = {path: held.folder / path for path in held.stamps.keys() - before}
            self.keeper.keep(outbox.seal(outbox.fill(held, own), manifest))
            write_manifest(folder, manifest)
        except OSError as error:
            self.keeper.fail(manifest.push_id, error)
