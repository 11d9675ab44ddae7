"""What works beside a training takes only what the training leaves of the processor."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hf_xet import XetSession

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import tiny_trainer


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
WORKERS = ("push-to-bucket", "save-checkpoint")


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


def test_uploads_and_writes_give_way_to_the_training(hub, bucket_id, tmp_path):
    of_a_download = XetSession()  # its threads were there before, as after the download of a model
    before = niceness()
    during = {}

    def hold(_state):
        hub.clear_requests()
        hub.hold("POST .*/batch")

    def look(state):
        if state.global_step == 3:
            hub.wait_for("POST .*/batch")  # an upload is under way
            during.update(niceness())
            hub.release()

    tiny_trainer(
        tmp_path,
        bucket_id=bucket_id,
        async_save=True,
        callbacks=[At(on_train_begin=hold, on_step_end=look)],
    ).train()

    assert during["main"] == before["main"]
    for worker in (*WORKERS, "hf-xet"):
        assert min(during[worker]) == min(before["main"]) + 10, worker
    assert committed(bucket_id)[-1] == "checkpoint-6"
    del of_a_download
