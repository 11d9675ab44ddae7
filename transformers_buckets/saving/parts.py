"""Parts of a checkpoint on disks that rank zero does not see: kept and sent there, asked for and collected by rank zero.

Rank zero decides alone what is pushed, when, and how often it is tried. The others do as they are told, through a
`torch.distributed.TCPStore`: a collective would have to be called by the threads that train.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import TCPStore

from ..bucket.address import BucketAddress
from ..bucket.errors import BucketError
from ..bucket.hub_client import reason
from ..bucket.manifest import FileRecord, PushId
from ..bucket.writer import CheckpointBucket
from .entry import OutboxEntry
from .outbox import Outbox
from .priority import give_way


logger = logging.getLogger(__name__)

_BEAT = 5.0  # seconds between two signs of life of a node
SILENCE = 60.0  # seconds without one after which a node is taken for dead
_SHORTEST, _LONGEST = 0.01, 0.5  # seconds between two looks
_LONG = timedelta(days=365)


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
    """

    def __init__(self, host: str):
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_LONG)
        self.endpoint = (host, self._store.port)
        self.disks: list[Disk] = []
        self.left: Mapping[PushId, set[str]] = {}  # the files that are left of pushes of an earlier process
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
        number = self._order(push=entry.manifest.push_id, run=str(run), name=name)
        return lambda: self._collect(number, name)

    def drop(self, push_id: PushId) -> None:
        """Let every disk forget a push: it is committed, or another one has taken its place."""
        self._order(drop=push_id)

    def has_all(self, entry: OutboxEntry) -> bool:
        """Whether everything of a push that an earlier process left is still there, on one disk or another."""
        return entry.manifest.files.keys() <= entry.stamps.keys() | self.left.get(entry.manifest.push_id, set())

    def end(self) -> None:
        """Say that nothing more will be asked for, for now."""
        self._order(end=True)

    def _order(self, **order: object) -> int:
        with self._lock:
            number, self._orders = self._orders, self._orders + 1
            self._store.set(f"order/{number}", json.dumps(order))
        return number

    def _collect(self, number: int, name: str) -> dict[str, FileRecord]:
        sent, problems = {}, []
        for disk in self.disks:
            report = self._report_of(disk, f"report/{number}/{disk.ranks[0]}")
            if "error" in report:
                problems.append(f"{disk}: {report['error']}")
            sent |= {path: FileRecord(*record) for path, record in report.get("files", {}).items()}
        if problems:
            raise BucketError(f"{name} lacks the part of {'; of '.join(problems)}")
        return sent

    def _report_of(self, disk: Disk, key: str) -> dict:
        # Looking now and then, for a wait that times out is a warning of torch each time.
        beat, heard, pause = None, time.monotonic(), _SHORTEST
        while not self._store.check([key]):
            if (latest := self._store.add(f"alive/{disk.ranks[0]}", 0)) != beat:
                beat, heard = latest, time.monotonic()
            elif time.monotonic() - heard > SILENCE:
                return {"error": f"nothing has been heard of it for {SILENCE:.0f} s"}
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        return json.loads(self._store.get(key))


class PartKeeper:
    """
    On the first rank of another disk: keeps its parts of checkpoints, and sends them when rank zero says so.

    Args:
        endpoint (`tuple[str, int]`):
            Where rank zero is to be found.
        rank (`int`):
            This rank.
        outbox ([`Outbox`]):
            Where the parts are.
        token (`str`, *optional*):
            Token for the Hub.
    """

    def __init__(self, endpoint: tuple[str, int], rank: int, outbox: Outbox, token: str | None = None):
        self.outbox = outbox
        self._endpoint, self._rank, self._token = endpoint, rank, token
        self._parts: dict[PushId, OutboxEntry] = {}
        self._failed: dict[PushId, str] = {}
        self._orders = 0  # that were obeyed
        self._ends, self._waits = 0, 0  # that were told, and waited for
        self._worker: threading.Thread | None = None

    def keep(self, entry: OutboxEntry) -> None:
        """Hold a part ready until rank zero asks for it."""
        self._parts[entry.manifest.push_id] = entry
        self._start()

    def fail(self, push_id: PushId, error: Exception) -> None:
        """Remember why there is no part of a push on this disk."""
        self._failed[push_id] = reason(error)

    def left(self) -> dict[PushId, list[str]]:
        """What there is, by push: the names of its files."""
        return {push_id: list(entry.stamps) for push_id, entry in self._parts.items()}

    def forget_all_but(self, wanted: Iterable[PushId]) -> None:
        """Drop what an earlier process left and is of no use any more."""
        for push_id in self._parts.keys() - set(wanted):
            entry = self._parts[push_id]
            logger.info(f"Dropping {entry.folder}: the run has gone on since, or another part of it is gone.")
            self._drop(push_id)

    def wait_for_end(self, seconds: float | None = None) -> None:
        """Go on doing what rank zero says, until it says that this was all, or is gone. It says so once for each call."""
        self._waits += 1
        if self._ends < self._waits:
            self._start()
        if self._worker is not None:
            self._worker.join(seconds)

    def _start(self) -> None:
        # Not for longer than need be: when the process of rank zero ends, torch has a lot to say about a lost connection.
        if self._worker is None or not self._worker.is_alive():
            self._worker = threading.Thread(target=self._serve, name="send-parts")
            self._worker.start()
            threading.Thread(target=self._beat, args=(self._worker,), name="sign-of-life").start()

    def _connect(self) -> TCPStore:
        return TCPStore(*self._endpoint, is_master=False, timeout=_LONG)

    def _beat(self, worker: threading.Thread) -> None:
        try:
            store = self._connect()
            while worker.is_alive():
                store.add(f"alive/{self._rank}", 1)
                worker.join(_BEAT)
        except RuntimeError as error:
            logger.debug(f"rank zero is gone: {error}")

    def _serve(self) -> None:
        give_way()
        try:
            store, pause, is_over = self._connect(), _SHORTEST, False
            # A thread that waits inside torch would abort the process when the interpreter ends.
            while not is_over and threading.main_thread().is_alive():
                if store.check([key := f"order/{self._orders}"]):
                    order, pause = json.loads(store.get(key)), _SHORTEST
                    is_over = self._obey(store, self._orders, order)
                    self._orders += 1
                else:
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST)
        except RuntimeError as error:
            logger.debug(f"rank zero is gone: {error}")

    def _obey(self, store: TCPStore, number: int, order: dict) -> bool:
        if "drop" in order:
            self._drop(PushId(*order["drop"]))
        elif "push" in order:
            try:
                files = self._send(PushId(*order["push"]), order["run"], order["name"])
                report = {"files": files}
            except BaseException as error:  # a panic in hf_xet is no Exception; rank zero must learn of it
                report = {"error": f"{type(error).__name__}: {reason(error)}"}
            store.set(f"report/{number}/{self._rank}", json.dumps(report))
        if "end" in order:
            self._ends += 1
        return "end" in order

    def _send(self, push_id: PushId, run: str, name: str) -> dict[str, FileRecord]:
        if push_id in self._failed:
            raise BucketError(self._failed[push_id])
        if push_id not in self._parts:
            raise BucketError("it has no copy of it")
        entry = self._parts[push_id]
        entry.check_unchanged()
        files = {path: entry.folder / path for path in entry.stamps}
        return CheckpointBucket(run, token=self._token).push_part(name, files)

    def _drop(self, push_id: PushId) -> None:
        self._failed.pop(push_id, None)
        entry = self._parts.pop(push_id, None)
        if entry is not None:
            self.outbox.remove(entry)
