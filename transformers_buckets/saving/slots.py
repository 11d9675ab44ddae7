"""The bound on how many checkpoints are in memory at once."""

import logging
import threading
from collections.abc import Callable

from ..bucket.patience import LATER_NEWS
from .snapshot import Buffers


logger = logging.getLogger(__name__)


class Slots:
    """Memory for two snapshots: one that is sent, and one that waits or is being made."""

    def __init__(self):
        self._free = [Buffers(), Buffers()]
        self._is_closed = False
        self._changed = threading.Condition()

    def take(self, make_room: Callable[[], None], is_urgent: bool) -> Buffers:
        """
        Memory for a snapshot, to be given back.

        Args:
            make_room (`Callable`):
                Called if there is none: lets somebody else give memory back. If nobody can, training waits.
            is_urgent (`bool`):
                Whether there is no time to wait for it.
        """
        if not self._free:
            make_room()
        with self._changed:
            while not self._changed.wait_for(lambda: self._free or is_urgent, timeout=LATER_NEWS):
                logger.info("Training waits: two checkpoints are in memory already, and neither is committed yet.")
            return self._free.pop() if self._free else Buffers()

    def give_back(self, buffers: Buffers) -> None:
        """Let the next snapshot have memory."""
        with self._changed:
            if not self._is_closed and len(self._free) < 2:
                self._free.append(buffers)
            self._changed.notify_all()

    def close(self) -> None:
        """Keep no memory for snapshots to come."""
        with self._changed:
            self._is_closed, self._free = True, []
