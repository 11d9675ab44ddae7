"""The priority of what works beside a training: it gets what training leaves of the processor."""

import os
import threading
from contextlib import suppress
from pathlib import Path


# A thread that is nicer by 10 gets about a tenth of a core that it shares, and all of a core that nobody else wants.
# A higher number could starve an upload beside a training that keeps all cores busy.
_NICER = 10
_TASKS = Path("/proc/self/task")


def give_way() -> None:
    """
    Let the calling thread and the threads of hf_xet give way to all others from now on, on any core they share.

    Linux only, where every thread has a priority of its own. What was lower already stays so.
    """
    if not _TASKS.is_dir():  # another system, or one that does not show its threads
        return
    # Than the main thread: training may be nice itself.
    nice = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + _NICER)
    # hf_xet starts its threads on first use, which may have been the download of a model, long before.
    for number in [threading.get_native_id(), *_threads_of_hf_xet()]:
        with suppress(OSError):  # it may have ended meanwhile
            os.setpriority(os.PRIO_PROCESS, number, max(nice, os.getpriority(os.PRIO_PROCESS, number)))


def stop_giving_way() -> None:
    """Let the threads of hf_xet work as before, for whoever uses them next. Only a privileged process may do that."""
    for number in _threads_of_hf_xet():
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, os.getpid()))


def _threads_of_hf_xet() -> list[int]:
    numbers = []
    for thread in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with suppress(OSError):
            if (thread / "comm").read_text().startswith("hf-xet"):
                numbers.append(int(thread.name))
    return numbers
