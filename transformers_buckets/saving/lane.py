"""A lane: jobs done one after the other beside the training, tried again when they fail, none held up by another's failure."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass


# Seconds between the attempts to do what is left at the end of training. `huggingface_hub` and `hf_xet` retry single
# requests on their own, for minutes; these come on top.
RETRY_DELAYS = (2.0, 10.0, 30.0)
_TICK = 0.2


@dataclass(eq=False)
class Job:
    """
    Something to be done on a lane.

    Args:
        name (`str`):
            What the user calls it, such as `checkpoint-500`.
        work (`Callable[[], None]`):
            Does it. Raises if it fails.
        group (`str`, *optional*, defaults to `""`):
            What belongs together: a job can be skipped in favour of newer ones of its group.
        forget (`Callable[[], None]`, *optional*):
            Called once it is done, skipped or given up for good: frees what it held.
        behind (`Sequence[Future]`, *optional*):
            What has to be through before it begins, and before it is forgotten.
        best (`str`, *optional*):
            Name of the job of its group that must not be skipped for it.
        folder (`str`, *optional*):
            Where its files are, for the user.
        size (`int`, *optional*, defaults to 0):
            Bytes of its files.
        error (`BaseException`, *optional*):
            What went wrong the last time.
        rescue (`Callable`, *optional*):
            Puts its files where they outlive this process, if they are in memory only.
        turn (`int`, *optional*):
            The how-manieth of its lane it is.
        is_due (`bool`, *optional*, defaults to `True`):
            Whether it is to be tried now. What failed waits for the next job, or for the end.
    """

    name: str
    work: Callable[[], None]
    group: str = ""
    forget: Callable[[], None] = lambda: None
    behind: Sequence[Future] = ()
    best: str | None = None
    folder: str | None = None
    size: int = 0
    error: BaseException | None = None
    rescue: Callable[[], object] | None = None
    turn: int = 0
    is_due: bool = True

    @property
    def kind(self) -> tuple[str, bool]:
        """What it can be skipped in favour of: its group, and whether that is in memory only."""
        return self.group, self.rescue is not None

    def makes_up_for(self, lost: "Job") -> bool:
        """Whether what was lost is not missed any more once this one is done."""
        return lost.group == self.group and lost.turn < self.turn and lost.name != self.best


class Lane:
    """
    Does jobs in the background. The interpreter does not end under a running one.

    Args:
        name (`str`):
            Name of its thread.
        report (`Callable[[Job], None]`):
            Called at once for each job that failed, unless newer ones push it out for that.
        skip (`Callable[[Job], None]`, *optional*):
            Called for each job that newer ones have pushed out. Without it, those that failed are reported.
        limit (`int`, *optional*):
            How many of a [`~Job.kind`] may wait. `None` for all.
        hopeless (`tuple[type]`, *optional*):
            Errors after which there is no sense in another try. Such a job is put into `lost`.

    Attributes:
        lost (`list[Job]`):
            What was given up, until something newer of its group is done.
        done (`int`):
            How many jobs are done.
    """

    def __init__(
        self,
        name: str,
        report: Callable[[Job], None],
        skip: Callable[[Job], None] | None = None,
        limit: int | None = None,
        hopeless: tuple[type[BaseException], ...] = (),
    ):
        self._report, self._skip, self.limit, self._hopeless = report, skip, limit, hopeless
        self.lost: list[Job] = []
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._working = self._urgent = self._stopped = False
        self._turn = self.done = 0
        self._changed = threading.Condition()
        # The threads stay between jobs: to start one takes longer than all else that a save waits for here.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._cleaner = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-cleaner")

    # ---- For those who hand over ----

    def put(self, job: Job, urgent: bool = False) -> None:
        """
        Hand over a job; returns at once. What failed before gets another try behind it.

        Args:
            job ([`Job`]):
                The job.
            urgent (`bool`, *optional*, defaults to `False`):
                Time is short: only the newest of each group matters, and the newest comes first, from now until the end of
                the next flush.
        """
        for future in job.behind:
            future.add_done_callback(self._notify)
        with self._changed:
            self._turn += 1
            job.turn = self._turn
            self._stopped = False
            self._urgent = self._urgent or urgent  # on SIGTERM, transformers may save once more
            self._waiting.append(job)
            skipped = self._thin_out()
            self._begin()
        self._drop(skipped)

    def make_room(self, best: str | None) -> None:
        """
        Skip what waits and is in memory only: something newer is about to need the room.

        Args:
            best (`str`, *optional*):
                Name of a job that must not be skipped.
        """
        with self._changed:
            skipped = [job for job in self._waiting if job.rescue and job.name != best]
            self._waiting = [job for job in self._waiting if job not in skipped]
        self._drop(skipped)

    def lose(self, job: Job) -> None:
        """Take note of a job that could not even be handed over."""
        with self._changed:
            self._turn += 1
            job.turn = self._turn
            self.lost.append(job)

    def flush(self, tick: Callable[[], None] = lambda: None) -> list[Job]:
        """
        Wait until everything is done, trying again after failures, a bounded number of times.

        Args:
            tick (`Callable[[], None]`, *optional*):
                Called several times a second meanwhile. What it raises ends the wait.

        Returns:
            `list[Job]`: What could not be done, each with its error.
        """
        for delay in (0, *RETRY_DELAYS):
            self._wait_for(lambda: False, tick, delay)
            with self._changed:
                self._stopped = False
                self._begin()
            self._wait_for(lambda: not self._working, tick)
            if not self.left:
                break
        self._urgent = False
        # What was done takes up room until it is deleted. That may take its time, but here nobody is in a hurry.
        cleaned = self._cleaner.submit(lambda: None)
        self._wait_for(cleaned.done, tick)
        return self.left

    def stop(self, seconds: float) -> None:
        """Begin nothing more until the next job is handed over, and wait a little for the one that runs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._working, timeout=seconds)

    @property
    def is_working(self) -> bool:
        """Whether a job runs."""
        return self._working

    @property
    def left(self) -> list[Job]:
        """What runs and what waits, the oldest first."""
        with self._changed:
            running = [self._running] if self._running else []
            return sorted(running + self._waiting, key=lambda job: job.turn)

    # ---- On the threads ----

    def _wait_for(self, condition: Callable[[], bool], tick: Callable[[], None], timeout: float | None = None) -> None:
        waited = 0.0
        while timeout is None or waited < timeout:
            patience = _TICK if timeout is None else min(_TICK, timeout - waited)
            with self._changed:
                if self._changed.wait_for(condition, timeout=patience):
                    return
            waited += patience
            tick()

    def _notify(self, _future: Future) -> None:
        with self._changed:
            self._changed.notify_all()

    def _thin_out(self) -> list[Job]:
        """
        Take out what is too much: the oldest of a group, but neither its newest nor its best.

        What outlives this process makes room only for what does so, too.
        """
        limit = 1 if self._urgent else self.limit
        jobs = sorted(self._waiting, key=lambda job: job.turn)
        best = {job.group: job.best for job in jobs}  # as the newest knows it
        skipped = []
        for kind in {job.kind for job in jobs} if limit is not None else ():
            alike = [job for job in jobs if job.kind == kind]
            spare = [job for job in alike[:-1] if job.name != best[job.group]]
            skipped += spare[: max(0, len(alike) - limit)]
        self._waiting = [job for job in self._waiting if job not in skipped]
        return skipped

    def _drop(self, skipped: Sequence[Job]) -> None:
        for job in skipped:
            if self._skip:
                self._skip(job)
            self._forget(job)

    def _begin(self) -> None:
        for job in self._waiting:
            job.is_due = True
        if not self._working and self._waiting:
            self._working = True
            self._worker.submit(self._work)
        self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.work()
            except BaseException as error:  # a panic in hf_xet is no Exception; nothing may end this thread unheard
                job.error, job.is_due = error, False
                with self._changed:
                    self._running = None
                    (self.lost if isinstance(error, self._hopeless) else self._waiting).append(job)
                    skipped = self._thin_out()
                if not (self._stopped or (self._skip and job in skipped)):
                    self._report(job)
                self._drop(skipped)
            else:
                with self._changed:
                    self._running, self.done = None, self.done + 1
                    self.lost = [lost for lost in self.lost if not job.makes_up_for(lost)]
                self._forget(job)

    def _next(self) -> Job | None:
        """The next job whose turn it is, waiting for what it is behind; `None` if there is nothing left to do now."""
        with self._changed:
            while True:
                due = [job for job in self._waiting if job.is_due and not self._stopped]
                if ready := [job for job in due if all(future.done() for future in job.behind)]:
                    # What failed comes last: it may fail again, and take minutes for it.
                    order = max if self._urgent else min
                    untried = [job for job in ready if job.error is None]
                    self._running = order(untried or ready, key=lambda job: job.turn)
                    self._waiting.remove(self._running)
                    return self._running
                if not due:
                    self._working = False
                    self._changed.notify_all()
                    return None
                self._changed.wait()

    def _forget(self, job: Job) -> None:
        """Deleting takes time, and others may still read the same files: neither is for the threads that others wait for."""

        def forget() -> None:
            wait(job.behind)
            job.forget()

        self._cleaner.submit(forget)
