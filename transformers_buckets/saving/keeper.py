"""The other side of `parts.py`: on another disk, its parts of checkpoints are kept, and sent when rank zero says so."""

import json
import logging
import queue
import threading
from collections.abc import Collection
from pathlib import Path

from torch.distributed import TCPStore

from ..bucket.errors import BucketError
from ..bucket.files import intact_parts
from ..bucket.hub_client import Transfer, reason
from ..bucket.manifest import FileRecord, Manifest, PushId
from ..bucket.patience import TIMEOUT
from ..bucket.writer import CheckpointBucket
from . import parts
from .entry import OutboxEntry
from .outbox import Outbox
from .priority import give_way


logger = logging.getLogger(__name__)


class PartKeeper:
    """
    On the first rank of another disk: keeps its parts of checkpoints, and sends them when rank zero says so.

    One thread listens and gives signs of life, another one sends.

    Args:
        endpoint (`tuple[str, int]`):
            Where rank zero is to be found.
        rank (`int`):
            This rank.
        outbox ([`Outbox`]):
            Where the parts are.
        token (`str`, *optional*):
            Token for the Hub.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub is given up.

    Attributes:
        keeping (`threading.Lock`):
            Held by the thread that trains while it finds out with the other ranks what there is to keep. Rank zero may be
            through with that first, and ask.
    """

    def __init__(
        self,
        endpoint: tuple[str, int],
        rank: int,
        outbox: Outbox,
        token: str | None = None,
        timeout: float = TIMEOUT,
    ):
        self.outbox = outbox
        self._endpoint, self._rank, self._token, self._timeout = endpoint, rank, token, timeout
        self._parts: dict[PushId, OutboxEntry] = {}
        self._failed: dict[PushId, str] = {}
        self._found: dict[PushId, tuple[str, Manifest, dict[str, Path]]] = {}  # at the beginning, on this disk
        self.keeping = threading.Lock()
        self._heard = 0  # orders
        self._todo: queue.SimpleQueue[tuple[int, dict]] = queue.SimpleQueue()
        self._ends, self._waits = 0, 0  # that were told, and waited for
        self._is_ending = False
        self._bucket: CheckpointBucket | None = None
        self._under_way = -1, Transfer()  # number of the order, and what was read for it
        self._error: str | None = None  # that rank zero ended with
        self._sender: threading.Thread | None = None
        self._store: TCPStore | None = None

    def begin(self, with_checkpoints: bool = False) -> dict[PushId, list[str]]:
        """
        Take this disk over when a training begins.

        Args:
            with_checkpoints (`bool`, *optional*, defaults to `False`):
                Whether checkpoints on it count as well, besides what an earlier process left in the outbox.

        Returns:
            `dict[PushId, list[str]]`: What there is, by push: the names of its files.

        Raises:
            [`BucketError`]: If another training writes to it.
        """
        self.outbox.begin()
        for entry in self.outbox.leftovers():
            self.keep(entry) if entry.manifest else self.outbox.remove(entry)
        self._found = dict(intact_parts(self.outbox.output_dir)) if with_checkpoints else {}
        found = {push_id: list(files) for push_id, (_, _, files) in self._found.items()}
        return found | {push_id: list(entry.stamps) for push_id, entry in self._parts.items()}

    def keep(self, entry: OutboxEntry) -> None:
        """Hold a part ready until rank zero asks for it."""
        self._parts[entry.manifest.push_id] = entry
        self._start()

    def fail(self, push_id: PushId, error: Exception) -> None:
        """Remember why there is no part of a push on this disk."""
        self._failed[push_id] = reason(error)

    def keep_only(self, wanted: Collection[PushId]) -> None:
        """Hold ready what rank zero wants of that which was there at the beginning, and drop the rest of the outbox."""
        for push_id in self._found.keys() & set(wanted) - self._parts.keys():
            name, manifest, files = self._found[push_id]
            self.keep(self.outbox.add(files, name, manifest))
        for push_id in self._parts.keys() - set(wanted):
            entry = self._parts[push_id]
            logger.info(f"Dropping {entry.folder}: the run has gone on since, or another part of it is gone.")
            self._drop(push_id)

    def wait_for_end(self) -> None:
        """
        Go on doing what rank zero says, until it says that this was all, or is gone. It says so once for each call.

        Raises:
            [`BucketError`]: If something could not be pushed.
        """
        self._waits += 1
        if self._ends < self._waits:
            self._start()
        if self._sender is not None:
            self._sender.join()
        error, self._error = self._error, None
        if error:
            raise BucketError(f"rank 0 failed: {error}")

    def last_words(self, seconds: float) -> str | None:
        """
        Go on for a while, if rank zero may still ask for something; until its end if it is about to end, too.

        Args:
            seconds (`float`):
                How long, as long as nothing is known of rank zero.

        Returns:
            `str`, *optional*: What rank zero says went wrong.
        """
        waited = 0.0
        self._waits += 1
        while self._sender and self._sender.is_alive() and (self._is_ending or (self._parts and waited < seconds)):
            self._sender.join(parts.LONGEST)
            waited += parts.LONGEST
        return self._error

    def _start(self) -> None:
        # Not for longer than need be: when the process of rank zero ends, torch has a lot to say about a lost connection.
        if self._sender is None or not self._sender.is_alive():
            self._store = self._store or TCPStore(*self._endpoint, is_master=False, timeout=parts.LONG)
            self._sender = threading.Thread(target=self._send_all, name="send-parts")
            self._sender.start()
            threading.Thread(target=self._listen, args=(self._sender,), name="listen-to-rank-zero").start()

    def _listen(self, sender: threading.Thread) -> None:
        pause, rested, read = parts.SHORTEST, parts.BEAT, (-1, 0)
        try:
            # A thread that waits inside torch would abort the process when the interpreter ends.
            while sender.is_alive() and threading.main_thread().is_alive():
                if rested >= parts.BEAT:
                    self._store.add(f"alive/{self._rank}", 1)
                    rested = 0.0
                order, transfer = self._under_way
                if (now := (order, transfer.read)) != read:
                    self._store.add(f"read/{order}/{self._rank}", now[1] - (read[1] if read[0] == order else 0))
                    read = now
                pause = parts.SHORTEST if self._hear() else min(2 * pause, parts.LONGEST)
                sender.join(pause)
                rested += pause
        except RuntimeError as error:
            logger.debug(f"rank zero is gone: {error}")
        if sender.is_alive():
            self._todo.put((-1, {"end": None}))

    def _hear(self) -> bool:
        """Take note of the next order, if there is one; whether there was."""
        if not self._store.check([key := f"order/{self._heard}"]):
            return False
        order = json.loads(self._store.get(key))
        if "stop" in order and self._bucket:
            self._bucket.api.patience.end()
        self._is_ending = self._is_ending or "ending" in order
        self._todo.put((self._heard, order))
        self._heard += 1
        return True

    def _send_all(self) -> None:
        give_way()
        is_over = False
        try:
            while not is_over:
                is_over = self._obey(*self._todo.get())
        except RuntimeError as error:
            logger.debug(f"rank zero is gone: {error}")

    def _obey(self, number: int, order: dict) -> bool:
        if "drop" in order:
            push_id = PushId(*order["drop"])
            self._wait_for(push_id)
            self._drop(push_id)
        elif "push" in order:
            try:
                self._under_way = number, Transfer()
                report = {"files": self._send(PushId(*order["push"]), order["run"], order["name"])}
            except BaseException as error:  # a panic in hf_xet is no Exception; rank zero must learn of it
                report = {"error": f"{type(error).__name__}: {reason(error)}"}
            self._store.set(f"report/{number}/{self._rank}", json.dumps(report))
        elif "end" in order:
            self._ends += number >= 0
            self._error = order["end"]
            self._is_ending = False
        return "end" in order

    def _send(self, push_id: PushId, run: str, name: str) -> dict[str, FileRecord]:
        self._wait_for(push_id)
        if push_id in self._failed:
            raise BucketError(self._failed[push_id])
        if push_id not in self._parts:
            raise BucketError("it has no copy of it")
        entry = self._parts[push_id]
        self.outbox.check(entry)
        files = {path: entry.folder / path for path in entry.stamps}
        self._bucket = CheckpointBucket(run, token=self._token, timeout=self._timeout)
        return self._bucket.push_part(name, files, self._under_way[1])

    def _wait_for(self, push_id: PushId) -> None:
        if push_id not in self._parts and push_id not in self._failed:
            with self.keeping:
                pass

    def _drop(self, push_id: PushId) -> None:
        self._failed.pop(push_id, None)
        entry = self._parts.pop(push_id, None)
        if entry is not None:
            self.outbox.remove(entry)
