"""The thread that writes snapshots, one after the other, and the bound on how many there are."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from .priority import give_way
from .snapshot import Buffers, Snapshot


class SnapshotWriter:
    """
    Writes snapshots behind the back of a training.

    At most two are alive: one that is being written and one that waits. A third one waits for the first to be on disk. They
    keep their memory for those that come after them, until [`~SnapshotWriter.close`].
    """

    def __init__(self):
        self._buffers = [Buffers(), Buffers()]
        self._writes: list[Future | None] = [None, None]
        self._slot = 0  # of the snapshot that was begun last
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="save-checkpoint", initializer=give_way)

    def begin(self) -> Snapshot:
        """An empty snapshot."""
        self._slot = self._free_slot()
        return Snapshot(self._buffers[self._slot])

    def write(self, snapshot: Snapshot, then: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """
        Let the snapshot that was begun last be written. Returns at once.

        Args:
            snapshot ([`Snapshot`]):
                The snapshot.
            then (`Callable`):
                What shall happen on the writer when its files are there.
            failed (`Callable`):
                What shall happen there, at once, if something goes wrong.
        """
        self._writes[self._slot] = self._thread.submit(self._write, snapshot, then, failed)

    def _write(self, snapshot: Snapshot, then: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        try:
            snapshot.write()
            then()
        except BaseException as error:
            failed(error)

    def wait(self) -> None:
        """Wait until everything is on disk, or has failed."""
        wait([write for write in self._writes if write])

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written, and nothing waits."""
        return all(write is None or write.done() for write in self._writes)

    def close(self) -> None:
        """Give the thread and the memory back. What is under way is still written."""
        self._thread.shutdown(wait=False)
        self._buffers = []

    def _free_slot(self) -> int:
        """The slot whose memory may be written over, waiting for the older of the two if both are in use."""
        if all(self._writes):
            wait(self._writes, return_when=FIRST_COMPLETED)
        return next(i for i, write in enumerate(self._writes) if write is None or write.done())
