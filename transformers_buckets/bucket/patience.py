"""Calls to the Hub that wait neither for ever nor in silence. The HTTP client of `huggingface_hub` has no timeout for reading."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError


logger = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT = 600  # seconds
# Seconds without progress until the user hears of it, and from then on.
FIRST_NEWS, LATER_NEWS = 20.0, 60.0
# Seconds between attempts at what only asks. `huggingface_hub` itself tries again for some requests, not for all.
RETRY_DELAYS = (0.5, 1.5, 4.0)
_TRANSIENT = (429, 500, 502, 503, 504)
_TICK = 0.2


class NoHubError(LookupError):
    """An answer that no Hub gives."""


class GivenUpError(TimeoutError):
    """Nobody waits for a call any more. Whoever ended the wait knows why."""


class Patience:
    """
    How long to wait for the Hub.

    Args:
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call is given up.

    Attributes:
        flag (`str`, *optional*):
            What a user sets that time with, where there is something: named in messages. A command has nothing.
    """

    def __init__(self, timeout: float = TIMEOUT):
        self.timeout = timeout
        self.flag: str | None = None
        self._is_over = threading.Event()

    def end(self) -> None:
        """Give up all calls under way, at once, and all that follow, until [`~Patience.renew`]."""
        self._is_over.set()

    def renew(self) -> None:
        """Wait again."""
        self._is_over.clear()

    def wait_for(self, call: Callable[[], T], progress: Callable[[], object] = lambda: None) -> T:
        """
        Make a call on a thread of its own. One that is given up may still end there; nobody hears of it.

        Args:
            call (`Callable`):
                The call, without arguments.
            progress (`Callable`, *optional*):
                Tells something that changes as long as there is progress.

        Raises:
            `TimeoutError`: If there was no progress for too long.
            [`GivenUpError`]: If nobody waits for it any more.
            Whatever the call raises.
        """
        outcome = Future()

        def run() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:
                outcome.set_exception(error)

        # A daemon, so that a Hub that never answers cannot keep the interpreter from ending.
        threading.Thread(target=run, name="call-to-hub", daemon=True).start()
        seen, since, next_news = progress(), time.monotonic(), FIRST_NEWS
        while not wait([outcome], timeout=_TICK).done:
            waited = time.monotonic() - since
            if (now := progress()) != seen:
                seen, since, next_news = now, time.monotonic(), FIRST_NEWS
            elif self._is_over.is_set():
                raise GivenUpError("given up: nobody waits for it any more")
            elif waited >= self.timeout:
                set_with = f" ({self.flag}={self.timeout:g})" if self.flag else ""
                raise TimeoutError(f"no answer for {waited:.0f} s{set_with}")
            elif waited >= next_news:
                logger.warning(
                    f"The Hub has not answered for {waited:.0f} s; trying on. "
                    f"After {self.timeout:.0f} s{f' ({self.flag})' if self.flag else ''} the attempt is given up."
                )
                next_news += LATER_NEWS
        return outcome.result()

    def ask(self, call: Callable[[], T]) -> T:
        """As [`~Patience.wait_for`], for a call that changes nothing when it is made twice: it is tried again if need be."""
        for delay in RETRY_DELAYS:
            try:
                return self.wait_for(call)
            except (HTTPError, ConnectionError) as error:
                if not _is_transient(error) or self._is_over.wait(delay):
                    raise
        return self.wait_for(call)


class PatientApi(HfApi):
    """
    The client, with a bound on each wait.

    Args:
        timeout (`float`):
            Seconds without progress after which a call is given up.
        kwargs:
            As [`~huggingface_hub.HfApi`].
    """

    def __init__(self, timeout: float, **kwargs):
        super().__init__(**kwargs)
        self.patience = Patience(timeout)

    def user_name(self) -> str:
        """
        Whose token it is: the namespace of what is named without one.

        Raises:
            [`NoHubError`]: If what answers does not say so.
        """
        answer = self.patience.ask(super().whoami)
        if isinstance(answer, dict) and isinstance(answer.get("name"), str):
            return answer["name"]
        raise NoHubError("whoami names no user")

    def create_bucket(self, *args, **kwargs):
        return self.patience.ask(lambda: super(PatientApi, self).create_bucket(*args, **kwargs))

    def bucket_info(self, *args, **kwargs):
        return self.patience.ask(lambda: super(PatientApi, self).bucket_info(*args, **kwargs))

    def list_bucket_tree(self, *args, **kwargs):
        return self.patience.wait_for(  # it is tried again as it is
            lambda: list(super(PatientApi, self).list_bucket_tree(*args, **kwargs))
        )

    def get_bucket_paths_info(self, *args, **kwargs):
        return self.patience.ask(lambda: list(super(PatientApi, self).get_bucket_paths_info(*args, **kwargs)))

    def get_bucket_file_metadata(self, *args, **kwargs):
        return self.patience.ask(lambda: super(PatientApi, self).get_bucket_file_metadata(*args, **kwargs))

    def download_bucket_files(self, bucket_id, files: Sequence, *args, **kwargs):
        targets = [Path(target) for _, target in files]
        return self.patience.wait_for(
            lambda: super(PatientApi, self).download_bucket_files(bucket_id, files, *args, **kwargs),
            progress=lambda: [_size(target) for target in targets],
        )

    def batch_bucket_files(self, *args, **kwargs):
        return self.patience.wait_for(lambda: super(PatientApi, self).batch_bucket_files(*args, **kwargs))

    def _batch_bucket_files(self, *args, _progress=None, **kwargs):
        return self.patience.wait_for(
            lambda: super(PatientApi, self)._batch_bucket_files(*args, _progress=_progress, **kwargs),
            progress=lambda: _progress and (_progress.read, _progress.new),
        )


def _is_transient(error: Exception) -> bool:
    """Whether another attempt may succeed: the Hub is overloaded or away, it did not refuse."""
    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code in _TRANSIENT
    return True


def _size(file: Path) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return -1
