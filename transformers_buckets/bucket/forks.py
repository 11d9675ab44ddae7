"""What a process that is forked while others upload must not inherit: data workers begin at any time of a training.

`huggingface_hub` closes its connections in a forked process, and waits for their lock to do so. If one of our threads held it
when the process was forked, nobody is there to let go of it, and the data worker waits for ever.
"""

import os

from huggingface_hub import get_session


def _leave_connections() -> None:
    """Let the connections be closed by nobody: they are the parent's, and the child forgets them."""
    vars(get_session())["close"] = lambda: None


def _take_connections_back() -> None:
    vars(get_session()).pop("close", None)


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(before=_leave_connections, after_in_parent=_take_connections_back)
