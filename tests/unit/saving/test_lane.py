"""The background worker: its order, what it skips, and that it loses nothing else."""

import threading
from concurrent.futures import Future
from queue import Queue

import pytest

from transformers_buckets.saving.lane import Job, Lane


class Hopeless(Exception):
    """No other try will help."""


class Worker:
    """Stands in for the uploads: stops at `gate`, fails for the names in `broken`, and remembers what it did."""

    def __init__(self, limit: int | None = None):
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()
        self.broken: dict[str, type[BaseException]] = {}
        self.tried: list[str] = []
        self.done: list[str] = []
        self.forgotten: list[str] = []
        self.skipped: list[str] = []
        self.told: Queue = Queue()
        self.lane = Lane("test", self.report, lambda job: self.skipped.append(job.name), limit, hopeless=(Hopeless,))

    def work(self, name: str) -> None:
        self.busy.set()
        self.gate.wait()
        self.tried.append(name)
        if name in self.broken:
            raise self.broken[name](f"no way for {name}")
        self.done.append(name)

    def report(self, job: Job) -> None:
        self.told.put(f"{job.name}: {job.error}")

    def put(self, *names: str, behind=(), urgent: bool = False, best: str | None = None, group: str = "") -> None:
        for name in names:
            job = Job(name, lambda name=name: self.work(name), group, behind=behind, best=best)
            job.forget = lambda name=name: self.forgotten.append(name)
            self.lane.put(job, urgent)

    def block_on(self, name: str) -> None:
        """Hand over a job and wait until the worker is in the middle of it."""
        self.busy.clear()
        self.gate.clear()
        self.put(name)
        assert self.busy.wait(10)

    def finish(self) -> list[str]:
        self.gate.set()
        return [job.name for job in self.lane.flush()]


def test_everything_is_done_in_order():
    worker = Worker()
    worker.block_on("1")
    worker.put("2", "3", "4")

    assert worker.finish() == []
    assert worker.done == worker.forgotten == ["1", "2", "3", "4"]


def test_beyond_the_limit_the_oldest_that_waits_is_skipped_and_told():
    worker = Worker(limit=3)
    worker.block_on("1")
    worker.put("2", "3", "4")
    assert worker.skipped == []
    worker.put("5", "6")

    assert worker.skipped == ["2", "3"]
    while worker.forgotten != ["2", "3"]:  # their room is free while the first one is still under way
        pass
    assert worker.finish() == []
    assert worker.done == ["1", "4", "5", "6"]
    assert sorted(worker.forgotten) == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("limit", [1, 3])
def test_neither_the_newest_nor_the_best_is_skipped(limit):
    worker = Worker(limit)
    worker.block_on("1")
    worker.put("2", best="2")
    worker.put("3", "4", "5", "6", best="2")

    assert worker.finish() == []
    assert {"2", "6"} <= set(worker.done)
    assert len(worker.done) == 1 + max(2, limit)


def test_what_failed_counts_among_those_that_wait():
    """An outage must not fill the disk."""
    worker = Worker(limit=2)
    worker.broken = {name: ConnectionError for name in "123456"}
    worker.put("1", "2", "3", "4", "5", "6")

    assert worker.finish() == ["5", "6"]
    assert sorted(worker.skipped) == ["1", "2", "3", "4"]


def test_a_job_waits_for_what_it_is_behind_and_holds_up_nobody():
    worker = Worker()
    first, second = Future(), Future()
    worker.put("1", behind=[first, second])
    worker.put("2")
    while worker.done != ["2"]:
        pass
    first.set_result(None)
    second.set_exception(ConnectionError("the model repository is away"))  # failed is through, too

    assert worker.finish() == []
    assert worker.done == ["2", "1"]


def test_a_skipped_copy_is_kept_while_somebody_else_reads_it():
    worker = Worker(limit=1)
    reading = Future()
    worker.block_on("1")
    worker.put("2", behind=[reading])
    worker.put("3")
    assert worker.skipped == ["2"]
    assert worker.forgotten == []

    reading.set_result(None)

    assert worker.finish() == []
    assert set(worker.forgotten) == {"1", "2", "3"}


def test_slow_deletions_hold_up_nothing():
    worker = Worker()
    allowed = threading.Event()
    worker.lane.put(Job("1", lambda: worker.work("1"), forget=allowed.wait))
    worker.put("2")
    while worker.done != ["1", "2"]:
        pass
    allowed.set()

    assert worker.finish() == []


def test_a_failure_is_told_at_once_and_the_copy_kept():
    worker = Worker()
    worker.broken = {"1": ConnectionError}
    worker.put("1")
    assert worker.told.get(timeout=10) == "1: no way for 1"

    (left,) = worker.lane.flush()

    assert isinstance(left.error, ConnectionError)
    assert worker.forgotten == []


def test_what_failed_gets_another_try_behind_the_next_one():
    worker = Worker()
    worker.broken = {"1": ConnectionError}
    worker.put("1")
    worker.told.get(timeout=10)
    worker.block_on("2")
    worker.put("3")
    worker.broken = {}

    assert worker.finish() == []
    assert worker.done == ["2", "3", "1"]


def test_what_fails_for_good_is_tried_a_bounded_number_of_times_and_holds_up_nobody():
    worker = Worker()
    worker.broken = {"1": ConnectionError, "2": ConnectionError}
    worker.block_on("1")
    worker.put("2", "3")

    assert worker.finish() == ["1", "2"]
    assert worker.done == ["3"]
    assert len(worker.tried) < 12


def test_what_is_hopeless_is_not_tried_again():
    worker = Worker()
    worker.broken = {"1": Hopeless}
    worker.put("1")

    assert worker.finish() == []
    assert worker.tried == ["1"]
    assert [job.name for job in worker.lane.lost] == ["1"]


def test_what_was_lost_is_made_up_for_by_something_newer_of_its_group_unless_it_is_the_best():
    worker = Worker()
    worker.broken = {"1": Hopeless, "2": Hopeless, "other": Hopeless}
    worker.put("1", "2", best="2")
    worker.put("other", group="other trial")
    worker.put("3", best="2")
    worker.finish()

    assert sorted(job.name for job in worker.lane.lost) == ["2", "other"]


def test_what_is_left_is_tried_again_by_the_next_flush():
    worker = Worker()
    worker.broken = {"1": ConnectionError}
    worker.put("1")
    assert worker.finish() == ["1"]

    worker.broken = {}

    assert worker.finish() == []
    assert worker.done == ["1"]


def test_groups_do_not_push_each_other_out():
    worker = Worker(limit=1)
    worker.block_on("0")
    worker.put("a1", "a2", group="a")
    worker.put("b1", "b2", group="b")
    worker.finish()

    assert worker.done == ["0", "a2", "b2"]


def test_in_a_hurry_only_the_newest_matters_until_the_flush():
    worker = Worker()
    worker.block_on("1")
    worker.put("2", "best")
    worker.put("3", urgent=True, best="best")
    worker.put("4", best="best")  # transformers saves once more before it stops
    worker.finish()
    worker.block_on("5")
    worker.put("6", "7")
    worker.finish()

    assert worker.done == ["1", "4", "best", "5", "6", "7"]


@pytest.mark.parametrize("panic", [KeyboardInterrupt, SystemExit, BaseException])
def test_not_even_a_panic_ends_the_worker_unheard_and_it_is_tried_again(panic):
    worker = Worker()
    worker.broken = {"1": panic}
    worker.put("1")
    assert worker.told.get(timeout=10) == "1: no way for 1"
    worker.broken = {}

    assert worker.finish() == []
    assert worker.done == ["1"]


def test_the_user_sees_life_while_waiting():
    worker = Worker()
    worker.block_on("1")
    ticks = []

    def tick():
        ticks.append(1)
        worker.gate.set()

    worker.lane.flush(tick)

    assert ticks


def test_what_is_pushed_out_as_it_fails_is_not_told_to_be_tried_again():
    worker = Worker(limit=2)
    worker.broken = {"1": ConnectionError}
    worker.block_on("1")
    worker.put("2", "3")

    assert worker.finish() == []
    assert worker.skipped == ["1"]
    assert worker.told.empty()
    assert worker.lane.done == 2
