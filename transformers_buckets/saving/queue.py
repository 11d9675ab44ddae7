"""The push queue: one background worker, the order of pushes, newest wins, retries, and errors that cannot vanish."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ..bucket.manifest import Manifest
from .outbox import OutboxEntry


logger = logging.getLogger(__name__)

# Seconds between the attempts to deliver what is left at the end of training. `huggingface_hub` and `hf_xet` retry
# single requests on their own, for minutes; these come on top.
RETRY_DELAYS = (2.0, 10.0, 30.0)
_TICK = 0.2


@dataclass(eq=False)
class Push:
    """
    An entry of the outbox on its way.

    Args:
        entry ([`OutboxEntry`]):
            What to push.
        behind (`Sequence[Future]`, *optional*):
            Pushes to the model repository that come first.
        error (`BaseException`, *optional*):
            What went wrong the last time.
        manifest ([`Manifest`], *optional*):
            Set once the checkpoint is committed: a retry then does only what is left to do.
        turn (`int`, *optional*):
            The how-manieth push of its queue it is.
    """

    entry: OutboxEntry
    behind: Sequence[Future] = ()
    error: BaseException | None = None
    manifest: Manifest | None = field(default=None, repr=False)
    turn: int = 0

    @property
    def is_root(self) -> bool:
        """Whether it is the root of the run rather than a checkpoint."""
        return not self.entry.name

    @property
    def lane(self) -> tuple[bool, str]:
        """What it can supersede and be superseded by: the root, or checkpoints of the same run or trial."""
        return self.is_root, self.entry.name.rpartition("/")[0]


class PushQueue:
    """
    Delivers pushes in the background, in order.

    The interpreter does not end under a running push.

    Args:
        deliver (`Callable[[Push], None]`):
            Does one push, on the worker. Raises if it fails.
        drop (`Callable[[OutboxEntry], None]`):
            Called for each entry that is not needed any more, delivered or superseded.
        report (`Callable[[Push], None]`):
            Called for each push that failed, at once.
        keep_all (`bool`, *optional*, defaults to `False`):
            Whether every checkpoint is delivered, rather than the newest of those that wait.
    """

    def __init__(
        self,
        deliver: Callable[[Push], None],
        drop: Callable[[OutboxEntry], None],
        report: Callable[[Push], None],
        keep_all: bool = False,
    ):
        self._deliver, self._drop, self._report = deliver, drop, report
        self.keep_all = keep_all
        self._pending: list[Push] = []
        self._failed: list[Push] = []
        self._superseded: list[Push] = []
        self._working = False
        self._urgent = False
        self._turn = 0
        self._reached: dict[tuple[bool, str], int] = {}  # the last turn that was delivered, by lane
        self._changed = threading.Condition()
        # The thread stays between pushes: to start one takes longer than all else that a save waits for here.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="push-to-bucket")

    def put(self, push: Push, urgent: bool = False) -> None:
        """
        Hand over a push; returns at once. What failed before gets another try with it.

        Args:
            push ([`Push`]):
                The push.
            urgent (`bool`, *optional*, defaults to `False`):
                Time is short: only the newest matters from now until the next flush, even if all were to be kept.
        """
        for future in push.behind:
            future.add_done_callback(self._notify)
        with self._changed:
            self._turn += 1
            push.turn = self._turn
            self._pending.append(push)
            self._urgent = self._urgent or urgent  # until the next flush: on SIGTERM, transformers may save once more
            self._start()

    def flush(self, tick: Callable[[], None] = lambda: None) -> list[Push]:
        """
        Wait until everything is delivered, trying again after failures, a bounded number of times.

        Args:
            tick (`Callable[[], None]`, *optional*):
                Called several times a second meanwhile.

        Returns:
            `list[Push]`: What could not be delivered, each with its error.
        """
        for delay in (0, *RETRY_DELAYS):
            with self._changed:
                self._urgent = False  # what was in a hurry has superseded the others already
                self._changed.wait(delay)
            self._run(tick)
            if not self._failed:
                return []
        # One that fails again and again must not hold up those behind it: they get a last chance without it.
        undeliverable, self._failed = self._failed, []
        while self._pending:
            self._run(tick)
            undeliverable, self._failed = undeliverable + self._failed, []
        self._failed = undeliverable  # whoever trains on, or flushes again, tries them again
        return list(undeliverable)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._changed:
            return not (self._working or self._pending or self._failed)

    def _notify(self, _future: Future) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self, tick: Callable[[], None]) -> None:
        with self._changed:
            self._start()
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: not self._working, timeout=_TICK):
                    return
            tick()

    def _start(self) -> None:
        # While one is under way, an older one that failed may have become pending again, and fail after it.
        pushes, self._failed = sorted(self._failed + self._pending, key=lambda push: push.turn), []
        newest = {push.lane: push for push in pushes}

        def is_wanted(push: Push) -> bool:
            if push.turn < self._reached.get(push.lane, 0):
                return False  # a newer one is committed, and the one committed last counts as the latest
            return push is newest[push.lane] or (self.keep_all and not self._urgent)

        self._pending = [push for push in pushes if is_wanted(push)]
        self._superseded += [push for push in pushes if not is_wanted(push)]
        if not self._working and (self._pending or self._superseded):
            self._working = True
            self._worker.submit(self._work)
        self._changed.notify_all()

    def _work(self) -> None:
        while (push := self._next()) is not None:
            try:
                self._deliver(push)
            except BaseException as error:  # a panic in hf_xet is no Exception; nothing may end this thread unheard
                push.error = error
                self._report(push)
                with self._changed:
                    self._failed.append(push)
                    if self.keep_all:  # the next one would be committed before this one
                        self._working = False
                        self._changed.notify_all()
                        return
            else:
                with self._changed:
                    self._reached[push.lane] = push.turn
                self._drop(push.entry)

    def _next(self) -> Push | None:
        """The next push whose turn it is, waiting for the Hub pushes before it; `None` if there is nothing left to do."""
        while True:
            with self._changed:
                droppable = [push for push in self._superseded if _is_free(push)]
                self._superseded = [push for push in self._superseded if push not in droppable]
                if not droppable:
                    if self._pending and _is_free(self._pending[0]):
                        return self._pending.pop(0)
                    if not self._pending and not self._superseded:
                        self._working = False
                        self._changed.notify_all()
                        return None
                    self._changed.wait()
            for push in droppable:  # deleting takes time; the training thread must not wait for this lock
                self._drop(push.entry)


def _is_free(push: Push) -> bool:
    """Whether the Hub pushes that read the same files are through."""
    return all(future.done() for future in push.behind)
