"""Parts of a checkpoint on disks that rank zero does not see: asked for and collected by rank zero.

Rank zero decides alone what is pushed, when, and how often it is tried. The others do as they are told (`keeper.py`), through
a `torch.distributed.TCPStore`: a collective would have to be called by the threads that train.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import TCPStore

from ..bucket.address import BucketAddress
from ..bucket.errors import BucketError
from ..bucket.manifest import FileRecord, PushId
from ..bucket.patience import TIMEOUT
from .entry import OutboxEntry


BEAT = 5.0  # seconds between two signs of life of a node
SILENCE = 60.0  # seconds without one after which a node is taken for dead
SHORTEST, LONGEST = 0.01, 0.5  # seconds between two looks
LONG = timedelta(days=365)


@dataclass(frozen=True)
class Disk:
    """
    A disk that rank zero does not see.

    Args:
        ranks (`Sequence[int]`):
            The ranks that do. The first of them sends what is on it.
        host (`str`):
            The name of their machine.
    """

    ranks: Sequence[int]
    host: str

    def __str__(self) -> str:
        return f"{self.host} (rank{'s' if len(self.ranks) > 1 else ''} {', '.join(map(str, self.ranks))})"


class PartCollector:
    """
    On rank zero: has the other disks send their parts, and learns what they sent.

    Args:
        host (`str`):
            The name or address of this machine, as the others know it.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a disk that gives signs of life is not waited for any more.

    Attributes:
        read (`int`):
            Bytes that the other disks have read for the push under way.
        waiting_for ([`Disk`], *optional*):
            Whose part is waited for.
    """

    def __init__(self, host: str, timeout: float = TIMEOUT):
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=LONG)
        self.endpoint = (host, self._store.port)
        self.timeout = timeout
        self.disks: list[Disk] = []
        self.left: Mapping[PushId, set[str]] = {}  # the files that are left of pushes of an earlier process
        self.read = 0
        self.waiting_for: Disk | None = None
        self._gave_up = threading.Event()
        self._orders = 0
        self._lock = threading.Lock()  # orders come from the worker and from the threads that train

    def ask(self, entry: OutboxEntry, run: BucketAddress, name: str) -> Callable[[], dict[str, FileRecord]]:
        """
        Let every disk send its part of a checkpoint. Returns at once.

        Args:
            entry ([`OutboxEntry`]):
                The part of this disk.
            run ([`BucketAddress`]):
                Where it goes.
            name (`str`):
                The checkpoint.

        Returns:
            `Callable`: Waits for all of them and returns the files that were sent. Raises [`BucketError`] if one cannot.
        """
        self._gave_up.clear()
        self.read = 0
        number = self._order(push=entry.manifest.push_id, run=str(run), name=name)
        return lambda: self._collect(number, name)

    def drop(self, push_id: PushId) -> None:
        """Let every disk forget a push: it is committed, or another one has taken its place."""
        self._order(drop=push_id)

    def has_all(self, entry: OutboxEntry) -> bool:
        """Whether everything of a push that an earlier process left is still there, on one disk or another."""
        return entry.manifest.files.keys() <= entry.stamps.keys() | self.left.get(entry.manifest.push_id, set())

    def give_up(self) -> None:
        """Wait for no disk any more, and let none go on sending."""
        self._gave_up.set()
        self._order(stop=True)

    def begin_to_end(self) -> None:
        """Say that training broke off here and the end will come."""
        self._order(ending=True)

    def end(self, error: str | None = None) -> None:
        """
        Say that nothing more will be asked for, for now.

        Args:
            error (`str`, *optional*):
                What went wrong to the last.
        """
        self._order(end=error)

    def _order(self, **order: object) -> int:
        with self._lock:
            number, self._orders = self._orders, self._orders + 1
            self._store.set(f"order/{number}", json.dumps(order))
        return number

    def _collect(self, number: int, name: str) -> dict[str, FileRecord]:
        sent, problems = {}, []
        for disk in self.disks:
            self.waiting_for = disk
            report = self._report_of(disk, f"{number}/{disk.ranks[0]}")
            if "error" in report:
                problems.append(f"{disk}: {report['error']}")
            sent |= {path: FileRecord(*record) for path, record in report.get("files", {}).items()}
        self.waiting_for = None
        if problems:
            raise BucketError(f"{name} lacks the part of {'; of '.join(problems)}")
        return sent

    def _report_of(self, disk: Disk, order: str) -> dict:
        # Looking now and then, for a wait that times out is a warning of torch each time.
        beats = read = None
        before, heard, moved, pause = self.read, time.monotonic(), time.monotonic(), SHORTEST
        while not self._store.check([f"report/{order}"]):
            now = time.monotonic()
            if (latest := self._store.add(f"alive/{disk.ranks[0]}", 0)) != beats:
                beats, heard = latest, now
            if (latest := self._store.add(f"read/{order}", 0)) != read:
                read, moved, self.read = latest, now, before + latest
            if now - heard > SILENCE:
                return {"error": f"nothing has been heard of it for {SILENCE:.0f} s"}
            if now - moved > self.timeout + 2 * BEAT:  # by then it should have given up itself
                return {"error": f"no progress for {now - moved:.0f} s (bucket_timeout={self.timeout:g})"}
            if self._gave_up.wait(pause):
                return {"error": "it was not waited for any longer"}
            pause = min(2 * pause, LONGEST)
        report = json.loads(self._store.get(f"report/{order}"))
        for key in (f"report/{order}", f"read/{order}"):
            self._store.delete_key(key)
        return report
