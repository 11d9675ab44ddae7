"""The priority of what works beside a training: it gets what training leaves of the processor."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path


# A thread at 10 gets about a tenth of a core that it shares with one at 0, and all of a core that nobody else wants.
# A higher number could starve an upload beside a training that keeps all cores busy.
_NICE = 10


def give_way() -> None:
    """
    Let the calling thread and the threads of hf_xet give way to all others from now on, on any core they share.

    Linux only, where every thread has a priority of its own. What was lower already stays so.
    """
    if sys.platform != "linux":
        return
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended meanwhile
            number = int(thread.name)
            # hf_xet starts its threads on first use, which may have been the download of a model, long before.
            if number == threading.get_native_id() or (thread / "comm").read_text().startswith("hf-xet"):
                os.setpriority(os.PRIO_PROCESS, number, max(_NICE, os.getpriority(os.PRIO_PROCESS, number)))
