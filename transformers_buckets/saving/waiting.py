"""The last wait: what is waited for, how long it may take, and when it is given up."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from ..bucket.address import BucketAddress
from ..bucket.checkpoint import listed
from ..bucket.patience import FIRST_NEWS, LATER_NEWS
from .lane import Job, Lane
from .messages import size_text


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pending:
    """
    What is still to be done.

    Args:
        names (`list[str]`):
            What the user calls it.
        size (`int`):
            Bytes that have still to be read, most of which have to travel.
        progress (`tuple[int, ...]`):
            Something that changes as long as there is progress. That less is waited for is none: it may have been given up.
    """

    names: list[str]
    size: int
    progress: tuple[int, ...]


class Wait:
    """
    Shows a wait: in a terminal by one bar, elsewhere by a line a minute.

    Args:
        address ([`BucketAddress`]):
            Where everything goes.
        pending (`Callable[[], Pending]`):
            Tells what is waited for.
        timeout (`float`):
            Seconds without progress after which it is given up.
        show_bar (`bool`):
            Whether a bar is drawn if there is a terminal.
    """

    def __init__(self, address: BucketAddress, pending: Callable[[], Pending], timeout: float, show_bar: bool):
        self._begun = self._moved = time.monotonic()
        self._pending = pending
        self._first = self._last = pending()
        self._address, self._timeout = address, timeout
        self._next_line = self._begun + FIRST_NEWS
        self._bar = None
        if show_bar and self._first.names and sys.stderr.isatty():
            self._bar = tqdm(
                desc=f"Pushing to {address}", total=self._first.size, unit="B", unit_scale=True, leave=False
            )

    def out(self, lanes: Sequence[Lane], interrupted: bool, folder: str) -> list[Job]:
        """
        Wait until everything is done.

        Args:
            lanes (`Sequence[Lane]`):
                What does it, in the order of their importance.
            interrupted (`bool`):
                Whether the user has interrupted once: the next interrupt ends the wait.
            folder (`str`):
                Where everything is meanwhile.

        Returns:
            `list[Job]`: What could not be done.

        Raises:
            `TimeoutError`: If there was no progress for too long.
            `KeyboardInterrupt`: If the user does not want to wait.
        """
        while True:
            try:
                return [job for lane in lanes for job in lane.flush(self._tick)]
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                logger.warning(
                    f"Interrupted while waiting for the push to {self._address}: {self._describe()}. It is given up after "
                    f"{self._timeout:g} s without progress (bucket_timeout). Interrupt again to leave it in {folder}."
                )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _tick(self) -> None:
        now, pending = time.monotonic(), self._pending()
        if pending.progress != self._last.progress:
            self._moved = now
        self._last = pending
        if now - self._moved > self._timeout:
            raise TimeoutError(f"no progress for {now - self._moved:.0f} s (bucket_timeout={self._timeout:g})")
        if self._bar is not None:
            self._bar.total = max(self._first.size, pending.size)
            self._bar.n = self._bar.total - pending.size
            self._bar.set_postfix_str(listed(pending.names, limit=2))
        elif now >= self._next_line:
            self._next_line = now + LATER_NEWS
            logger.info(f"Waiting for the push to {self._address}: {self._describe()}.")

    def _describe(self) -> str:
        """What is waited for, and how long it may take."""
        names, left = listed(self._last.names), self._last.size
        done, seconds = self._first.size - left, time.monotonic() - self._begun
        if not left:
            return f"{names}, of which all is read here, and not all acknowledged there"
        text = f"{names}, {size_text(left)} of {size_text(max(self._first.size, left))} left"
        if done > 0:
            rate = done / seconds
            text += f", {size_text(rate)} a second, about {_time_text(left / rate)}"
        return text


def _time_text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
