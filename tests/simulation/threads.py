"""Threads, and what they wait for, on the scheduler: for the ranks of a training that are spread over several disks."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from .tasks import Scheduler, Task


class Threads:
    """
    What `threading`, `queue` and `concurrent.futures` have of this, for one history.

    Args:
        scheduler ([`Scheduler`]):
            Where they take turns.
        news (`Callable`):
            Changes when there is something new to look at. Who looks now and then does so then, or when time has passed.
    """

    def __init__(self, scheduler: Scheduler, news: Callable[[], object]):
        self.scheduler, self.news = scheduler, news

    def pause(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for something, but no longer than until there is something new, or so long."""
        before = self.news()
        self.scheduler.wait_until(lambda: condition() or self.news() != before, seconds)

    def thread(self, target: Callable, args: tuple = (), name: str = "") -> "Thread":
        """As `threading.Thread`."""
        return Thread(self, target, args, name)

    def event(self) -> "Event":
        """As `threading.Event`."""
        return Event(self)

    def queue(self) -> "Queue":
        """As `queue.SimpleQueue`."""
        return Queue(self.scheduler)

    def pool(self, max_workers: int, thread_name_prefix: str) -> "Pool":
        """As `ThreadPoolExecutor`, for one piece of work."""
        return Pool(self.scheduler)


class Thread:
    """A `threading.Thread`."""

    def __init__(self, threads: Threads, target: Callable, args: tuple, name: str):
        self._threads, self._target, self._args, self._name = threads, target, args, name
        self._task: Task | None = None

    def start(self) -> None:
        scheduler = self._threads.scheduler
        self._task = scheduler.begin(scheduler.current.process, self._name, lambda: self._target(*self._args))

    def is_alive(self) -> bool:
        return not self._task.is_done

    def join(self, timeout: float | None = None) -> None:
        if timeout is None:
            self._threads.scheduler.wait_until(lambda: self._task.is_done)
        else:
            self._threads.pause(lambda: self._task.is_done, timeout)


class Event:
    """A `threading.Event`."""

    def __init__(self, threads: Threads):
        self._threads = threads
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        self._threads.pause(lambda: self._is_set, timeout)
        return self._is_set


class Queue:
    """A `queue.SimpleQueue`."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self._items = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def get(self) -> object:
        self._scheduler.wait_until(lambda: bool(self._items))
        return self._items.popleft()


class Pool:
    """A `ThreadPoolExecutor` that does one thing, while others wait for it."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self._task: Task | None = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception) -> None:
        self._scheduler.wait_until(lambda: self._task.is_done)

    def submit(self, work: Callable[[], object]) -> Future:
        future = _Outcome()
        future.scheduler = self._scheduler

        def do() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self._task = self._scheduler.begin(self._scheduler.current.process, "together", do)
        return future


class _Outcome(Future):
    scheduler: Scheduler

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.scheduler.wait_until(self.done)
        return super().exception(timeout)

    def result(self, timeout: float | None = None) -> object:
        self.scheduler.wait_until(self.done)
        return super().result(timeout)
