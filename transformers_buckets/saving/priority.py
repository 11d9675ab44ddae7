"""The priority of what works beside a training: it gets what training leaves of the processor."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path


# A thread that is nicer by 10 gets about a tenth of a core that it shares, and all of a core that nobody else wants.
# A higher number could starve an upload beside a training that keeps all cores busy.
_NICER = 10


def give_way() -> None:
    """
    Let the calling thread and the threads of hf_xet give way to all others from now on, on any core they share.

    Linux only, where every thread has a priority of its own. What was lower already stays so.
    """
    if sys.platform != "linux":
        return
    nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _NICER  # than the main thread: training may be nice itself
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended meanwhile
            number = int(thread.name)
            # hf_xet starts its threads on first use, which may have been the download of a model, long before.
            if number == threading.get_native_id() or (thread / "comm").read_text().startswith("hf-xet"):
                os.setpriority(os.PRIO_PROCESS, number, max(nice, os.getpriority(os.PRIO_PROCESS, number)))
