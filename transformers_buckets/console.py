"""What this package says to the user: one line at a time on standard error, without tearing progress bars."""

import logging
import os
import sys

from tqdm.auto import tqdm


class _Console(logging.Handler):
    """For those who have not configured logging. Everybody else has the messages in handlers and a format of their own."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            tqdm.write(self.format(record), file=sys.stderr)


class _Format(logging.Formatter):
    """In a terminal the text is enough. What is read later, from a file, needs time and level."""

    def format(self, record: logging.LogRecord) -> str:
        when = "" if sys.stderr.isatty() else f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {record.levelname} "
        return f"[buckets] {when}{super().format(record)}"


def set_up() -> None:
    """
    Show the package's messages from INFO on, or from what `TRANSFORMERS_VERBOSITY` says.

    `logging.getLogger("transformers_buckets")` changes that.
    """
    logger = logging.getLogger("transformers_buckets")
    if not logger.handlers:
        console = _Console()
        console.setFormatter(_Format("%(message)s"))
        logger.addHandler(console)
        level = logging.getLevelName(os.environ.get("TRANSFORMERS_VERBOSITY", "info").upper())
        logger.setLevel(level if isinstance(level, int) else logging.INFO)
