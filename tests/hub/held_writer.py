"""`async_save` with a writer that is held back, so that training is well ahead of what it writes."""

import threading

from transformers_buckets.saving.snapshot_writer import SnapshotWriter


def hold_writer(mocker) -> threading.Event:
    """Let the writer do nothing before the event is set that this returns."""
    go_on = threading.Event()
    write = SnapshotWriter._write

    def late(*args):
        assert go_on.wait(30)
        write(*args)

    mocker.patch.object(SnapshotWriter, "_write", late)
    return go_on
