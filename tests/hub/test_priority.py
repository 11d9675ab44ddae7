"""What works beside a training takes only what the training leaves of the processor."""

import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import tiny_trainer


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
WORKERS = ("push-to-bucket", "save-checkpoint")
NICEST = 19  # as Linux has it
_SPAWN = multiprocessing.get_context("spawn")


def niceness() -> dict[str, set[int]]:
    """Of the threads of this process: the main one, the workers of this package by their names, and those of hf_xet."""
    names = {thread.native_id: thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    names[threading.main_thread().native_id] = "main"
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # hf_xet lets threads end
            comm = (thread / "comm").read_text()
            name = "hf-xet" if comm.startswith("hf-xet") else names.get(int(thread.name))
            found.setdefault(name, set()).add(os.getpriority(os.PRIO_PROCESS, int(thread.name)))
    return found


def upload(bucket_id: str) -> None:
    api = HfApi()
    api.create_bucket(bucket_id)
    api.batch_bucket_files(bucket_id, add=[(b"something", "something.bin")])


def train(bucket_id: str, folder: Path, test: Connection) -> None:
    """A training in a process of its own, where no earlier upload has left threads. It tells the test what it sees."""

    def hold(_state):
        test.send(before)
        test.recv()  # the Hub holds uploads from here on

    def look(state):
        if state.global_step == 3:
            test.recv()  # an upload is under way
            test.send(niceness())

    os.nice(1)  # as a training that was started with `nice`
    upload(bucket_id)  # the threads of hf_xet are there before, as after the download of a model
    before = niceness()
    tiny_trainer(
        folder, bucket_id=bucket_id, async_save=True, callbacks=[At(on_train_begin=hold, on_step_end=look)]
    ).train()


@pytest.mark.slow
def test_uploads_and_writes_give_way_to_the_training(hub, bucket_id, tmp_path):
    mine, its = _SPAWN.Pipe()
    training = _SPAWN.Process(target=train, args=(bucket_id, tmp_path, its), daemon=True)
    training.start()
    its.close()  # so that a training that dies is an error here, not a wait
    before = mine.recv()
    hub.clear_requests()
    hub.hold("POST .*/batch")
    mine.send("held")
    hub.wait_for("POST .*/batch", timeout=240)  # a busy machine has little left for what gives way
    mine.send("an upload is under way")
    during = mine.recv()
    hub.release()
    training.join()

    assert min(before["hf-xet"]) == min(before["main"])
    assert during["main"] == before["main"]
    for worker in (*WORKERS, "hf-xet"):
        assert min(during[worker]) == min(min(before["main"]) + 10, NICEST), worker
    assert training.exitcode == 0
    assert committed(bucket_id)[-1] == "checkpoint-6"
