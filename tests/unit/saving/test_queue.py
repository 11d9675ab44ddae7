"""The background worker: its order, what it leaves out, and that it loses nothing else."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Semaphore

import pytest

from transformers_buckets.saving.outbox import OutboxEntry
from transformers_buckets.saving.queue import Push, PushQueue


class Worker:
    """Stands in for the uploads: stops at `gate`, fails for the names in `broken`, and remembers what it did."""

    def __init__(self, keep_all: bool = False):
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()
        self.broken: set[str] = set()
        self.tried: list[str] = []
        self.delivered: list[str] = []
        self.dropped: list[str] = []
        self.reported: list[str] = []
        self.queue = PushQueue(self.deliver, self.drop, self.report, keep_all=keep_all)

    def deliver(self, push: Push) -> None:
        self.busy.set()
        self.gate.wait()
        self.tried.append(push.entry.name)
        if push.entry.name in self.broken:
            raise ConnectionError(f"no way for {push.entry.name}")
        self.delivered.append(push.entry.name)

    def drop(self, entry: OutboxEntry) -> None:
        self.dropped.append(entry.name)

    def report(self, push: Push) -> None:
        self.reported.append(f"{push.entry.name}: {push.error}")

    def put(self, *names: str, behind=(), urgent: bool = False) -> None:
        for name in names:
            entry = OutboxEntry(Path("/nowhere"), name, "hf://buckets/a/b", {})
            self.queue.put(Push(entry, behind), urgent=urgent)

    def block_on(self, name: str) -> None:
        """Hand over a push and wait until the worker is in the middle of it."""
        self.busy.clear()
        self.gate.clear()
        self.put(name)
        assert self.busy.wait(10)


@pytest.fixture(params=[False, True], ids=["newest wins", "keep all"])
def worker(request):
    return Worker(keep_all=request.param)


def test_newest_wins_while_the_worker_is_busy():
    worker = Worker()
    worker.block_on("checkpoint-1")

    worker.put("checkpoint-2", "checkpoint-3", "checkpoint-4")
    worker.gate.set()

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-1", "checkpoint-4"]
    assert sorted(worker.dropped) == ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]


def test_newest_wins_although_an_older_one_fails_after_it():
    """The older one, which failed, is tried again while the newest is under way: it comes behind it, and fails again."""
    worker = Worker()
    worker.broken = {"checkpoint-1", "checkpoint-2"}
    begun, allowed, flushing = Queue(), Semaphore(0), threading.Event()
    deliver = worker.queue._deliver

    def step_by_step(push: Push) -> None:
        begun.put(push.entry.name)
        allowed.acquire()
        deliver(push)

    worker.queue._deliver = step_by_step
    worker.put("checkpoint-1")
    assert begun.get(timeout=10) == "checkpoint-1"
    worker.put("checkpoint-2")
    allowed.release()
    assert begun.get(timeout=10) == "checkpoint-2"
    with ThreadPoolExecutor() as pool:
        left = pool.submit(worker.queue.flush, flushing.set)
        assert flushing.wait(10)
        allowed.release(100)

    assert [push.entry.name for push in left.result()] == ["checkpoint-2"]
    assert worker.dropped == ["checkpoint-1"]


def test_with_keep_all_everything_lands_in_order():
    worker = Worker(keep_all=True)
    worker.block_on("checkpoint-1")

    worker.put("checkpoint-2", "checkpoint-3", "checkpoint-4")
    worker.gate.set()

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]


def test_the_root_and_the_newest_checkpoint_do_not_supersede_each_other():
    worker = Worker()
    worker.block_on("checkpoint-1")

    worker.put("checkpoint-2", "", "checkpoint-3", "")
    worker.gate.set()
    worker.queue.flush()

    assert worker.delivered == ["checkpoint-1", "checkpoint-3", ""]


def test_a_push_waits_for_the_hub_pushes_before_it(worker):
    first, second = Future(), Future()
    worker.put("checkpoint-1", behind=[first, second])

    first.set_result(None)
    assert worker.tried == []
    second.set_exception(ConnectionError("the model repository is away"))  # failed is through, too

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-1"]


def test_a_superseded_copy_is_kept_while_a_hub_push_reads_it():
    worker = Worker()
    reading = Future()
    worker.block_on("checkpoint-1")
    worker.put("checkpoint-2", behind=[reading])
    worker.put("checkpoint-3")
    worker.gate.set()

    ended = threading.Thread(target=worker.queue.flush)
    ended.start()
    while "checkpoint-3" not in worker.dropped:  # delivered, although the superseded one is still read
        pass
    assert "checkpoint-2" not in worker.dropped
    reading.set_result(None)
    ended.join(10)

    assert "checkpoint-2" in worker.dropped


def test_a_failure_is_reported_at_once_and_the_copy_kept(worker):
    worker.broken = {"checkpoint-1"}
    worker.put("checkpoint-1")

    (left,) = worker.queue.flush()

    assert worker.reported[0] == "checkpoint-1: no way for checkpoint-1"
    assert isinstance(left.error, ConnectionError)
    assert worker.dropped == []


def test_a_failure_gets_another_try_with_the_next_save_and_before_it():
    worker = Worker(keep_all=True)
    worker.broken = {"checkpoint-1"}
    worker.put("checkpoint-1")
    while not worker.reported:
        pass

    worker.broken = set()
    worker.put("checkpoint-2")
    worker.queue.flush()

    assert worker.tried == ["checkpoint-1", "checkpoint-1", "checkpoint-2"]
    assert worker.delivered == ["checkpoint-1", "checkpoint-2"]


def test_what_fails_for_good_is_tried_a_bounded_number_of_times_and_holds_up_nobody(worker):
    worker.broken = {"checkpoint-1", "checkpoint-2"}
    worker.block_on("checkpoint-1")
    worker.put("checkpoint-2", "checkpoint-3")
    worker.gate.set()

    left = worker.queue.flush()

    assert worker.delivered == ["checkpoint-3"]
    assert "checkpoint-3" not in [push.entry.name for push in left]
    assert len(worker.tried) < 12


def test_what_is_left_is_tried_again_by_the_next_flush(worker):
    worker.broken = {"checkpoint-1"}
    worker.put("checkpoint-1")
    assert worker.queue.flush() != []
    assert not worker.queue.is_idle

    worker.broken = set()

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-1"]


def test_what_failed_is_not_delivered_after_something_newer():
    worker = Worker()
    worker.broken = {"checkpoint-1"}
    worker.block_on("checkpoint-1")
    worker.put("checkpoint-2")
    worker.gate.set()
    while "checkpoint-2" not in worker.delivered:
        pass

    worker.broken = set()

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-2"]
    assert sorted(worker.dropped) == ["checkpoint-1", "checkpoint-2"]


def test_what_was_left_behind_is_not_delivered_later_either():
    worker = Worker(keep_all=True)
    worker.broken = {"checkpoint-1"}
    worker.put("checkpoint-1", "checkpoint-2")
    assert [push.entry.name for push in worker.queue.flush()] == ["checkpoint-1"]

    worker.broken = set()
    worker.put("checkpoint-3")

    assert worker.queue.flush() == []
    assert worker.delivered == ["checkpoint-2", "checkpoint-3"]


def test_trials_of_a_search_do_not_supersede_each_other():
    worker = Worker()
    worker.block_on("run-0/checkpoint-1")
    worker.put("run-0/checkpoint-2", "run-1/checkpoint-1", "run-1/checkpoint-2")
    worker.gate.set()
    worker.queue.flush()

    assert worker.delivered == ["run-0/checkpoint-1", "run-0/checkpoint-2", "run-1/checkpoint-2"]


def test_the_hurry_lasts_until_the_flush():
    worker = Worker(keep_all=True)
    worker.block_on("checkpoint-1")
    worker.put("checkpoint-2", urgent=True)
    worker.put("checkpoint-3")  # transformers saves once more before it stops
    worker.gate.set()
    worker.queue.flush()
    worker.block_on("checkpoint-4")
    worker.put("checkpoint-5", "checkpoint-6")
    worker.gate.set()
    worker.queue.flush()

    assert worker.delivered == ["checkpoint-1", "checkpoint-3", "checkpoint-4", "checkpoint-5", "checkpoint-6"]


@pytest.mark.parametrize("panic", [KeyboardInterrupt, SystemExit, BaseException])
def test_not_even_a_panic_ends_the_worker_unheard_and_it_is_tried_again(worker, mocker, panic):
    failures = [panic("in hf_xet"), panic("once more")]
    deliver = mocker.patch.object(worker.queue, "_deliver", side_effect=[*failures, None])
    worker.put("checkpoint-1")

    assert worker.queue.flush() == []
    assert deliver.call_count == 3
    assert worker.reported == ["checkpoint-1: in hf_xet", "checkpoint-1: once more"]


def test_the_user_sees_life_while_waiting(worker):
    worker.block_on("checkpoint-1")
    ticks = []

    def tick():
        ticks.append(1)
        worker.gate.set()

    worker.queue.flush(tick)

    assert ticks
