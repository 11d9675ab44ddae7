"""Threads that run one at a time, from operation to operation: which one is next, and which one dies, the test decides."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Killed(BaseException):
    """The process is dead: it does nothing any more, neither on the Hub nor on disk."""


class Process:
    """What dies as a whole: a training, or a command."""

    def __init__(self, name: str):
        self.name = name
        self.is_dead = False


class Task:
    """Something that a process does on a thread of its own."""

    def __init__(self, process: Process, name: str, work: Callable[[], object], after: "Task | None" = None):
        self.process, self.name, self.work, self.after = process, name, work, after
        self.is_done = False
        self.outcome: object = None
        self.error: BaseException | None = None
        self.waits_for: Callable[[], bool] | None = None
        self.budget: int | None = None
        self.go: threading.Lock | None = None  # none before it has begun
        self.pushing: object = None  # the id of the push it makes
        self.push_began = 0

    @property
    def can_go_on(self) -> bool:
        """Whether there is something for it to do now."""
        if self.is_done or (self.after is not None and not self.after.is_done):
            return False
        return self.waits_for is None or self.waits_for()


class Scheduler:
    """
    Lets tasks take turns.

    Attributes:
        current (`Task`, *optional*):
            The one that runs. `None` while the test itself does something: that is free and cannot be interrupted.
        now (`int`):
            Operations so far: the clock of all that happens.
        seconds (`float`):
            How long who waits for nothing but time has waited so far. The test lets it pass.
    """

    def __init__(self):
        self.current: Task | None = None
        self.tasks: list[Task] = []
        self.now = 0
        self.seconds = 0.0
        self._back = threading.Lock()
        self._back.acquire()

    # ---- For the test ----

    def begin(self, process: Process, name: str, work: Callable[[], object], after: Task | None = None) -> Task:
        """Make a task. It does nothing before it is its turn."""
        task = Task(process, name, work, after)
        self.tasks = [other for other in self.tasks if not other.is_done] + [task]
        return task

    def run(self, task: Task, operations: int | None = None) -> None:
        """
        Let a task do some operations, or all it has to do; then others of its process may have to go first.

        A task that waits for another process stays where it is.
        """
        task.budget = operations
        while not task.is_done:
            if task.can_go_on:
                self._give(task)
                if task.budget == 0:
                    return
            elif operations is not None or not self._let_others_work(task):
                return

    def kill(self, process: Process) -> None:
        """End a process between two operations: at the next one, each of its tasks finds out that it is dead."""
        process.is_dead = True
        mine = [task for task in self.tasks if task.process is process]
        for task in mine:
            if task.go is None:
                task.is_done = True
            while not task.is_done:
                task.waits_for = task.budget = None
                self._give(task)

    def unfinished(self, process: Process | None = None) -> list[Task]:
        """What can go on, of one process or of all."""
        return [task for task in self.tasks if process in (None, task.process) and task.can_go_on]

    # ---- For tasks ----

    def operation(self) -> bool:
        """To be called before each operation that is seen from outside. Returns whether a task does it."""
        task = self.current
        if task is None:
            return False
        self.now += 1
        self._check_alive(task)
        if task.budget is not None:
            task.budget -= 1
            if task.budget <= 0:
                task.budget = 0
                self._hand_back(task)
        self._check_alive(task)
        return True

    def wait_until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Let others go on until something is true, or so much time has passed."""
        if seconds is not None:
            end = self.seconds + seconds
            return self.wait_until(lambda: condition() or self.seconds >= end)
        task = self.current
        while not condition():
            if task is None:
                raise AssertionError("the test itself waits for something that a task has")
            task.waits_for = condition
            self._hand_back(task)
            task.waits_for = None
            self._check_alive(task)

    # ---- How it is done ----

    def _let_others_work(self, task: Task) -> bool:
        others = [other for other in self.unfinished(task.process) if other is not task]
        if others:
            self.run(others[0])
        return bool(others)

    def _give(self, task: Task) -> None:
        outer, self.current = self.current, task
        if task.go is None:
            task.go = threading.Lock()
            task.go.acquire()
            threading.Thread(target=self._do, args=(task,), daemon=True).start()
        else:
            task.go.release()
        self._back.acquire()
        self.current = outer

    def _hand_back(self, task: Task) -> None:
        self._back.release()
        task.go.acquire()

    def _do(self, task: Task) -> None:
        try:
            self._check_alive(task)
            task.outcome = task.work()
        except BaseException as error:
            task.error = error
        finally:
            task.is_done = True
            self._back.release()

    @staticmethod
    def _check_alive(task: Task) -> None:
        if task.process.is_dead:
            raise Killed(task.process.name)


class Executor:
    """A `ThreadPoolExecutor` with one thread, as far as a lane uses it; its work is done when it is its turn."""

    def __init__(self, scheduler: Scheduler, process: Process, name: str):
        self._scheduler, self._process, self._name = scheduler, process, name
        self._last: Task | None = None

    def submit(self, work: Callable[[], object]) -> Future:
        future = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
                raise

        self._last = self._scheduler.begin(self._process, self._name, do, self._last)
        return future


class Lock:
    """A `threading.Lock` for whose owner others wait without holding up the test."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self._owner: Task | None = None

    def __enter__(self):
        self._scheduler.wait_until(lambda: self._owner is None or self._owner.process.is_dead)
        self._owner = self._scheduler.current

    def __exit__(self, *exception) -> None:
        self._owner = None


class FileLocks:
    """Locks of files, by path. The death of a process frees them."""

    def __init__(self, scheduler: Scheduler):
        self.scheduler = scheduler
        self.owners: dict[str, Process] = {}

    def is_held(self, path: str) -> bool:
        return path in self.owners and not self.owners[path].is_dead


class FileLock:
    """`filelock.FileLock`, as far as it is used."""

    locks: FileLocks  # of the history that is being played

    def __init__(self, path, thread_local=True):
        self.lock_file = str(path)

    def acquire(self, timeout: float | None = None) -> "FileLock":
        from filelock import Timeout

        if timeout is not None and self.locks.is_held(self.lock_file):
            raise Timeout(self.lock_file)
        self.locks.scheduler.wait_until(lambda: not self.locks.is_held(self.lock_file))
        open(self.lock_file, "a").close()
        self.locks.owners[self.lock_file] = self.locks.scheduler.current.process
        return self

    def release(self) -> None:
        self.locks.owners.pop(self.lock_file, None)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *exception) -> None:
        self.release()
