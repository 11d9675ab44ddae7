"""What this package says to the user: one line at a time on standard error, without tearing progress bars."""

import logging
import sys

from tqdm.auto import tqdm


class _Console(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def set_up() -> None:
    """Show the package's messages from INFO on. `logging.getLogger("transformers_buckets")` changes that."""
    root = logging.getLogger("transformers_buckets")
    if not root.handlers:
        console = _Console()
        console.setFormatter(logging.Formatter("[buckets] %(message)s"))
        root.addHandler(console)
        root.setLevel(logging.INFO)
        root.propagate = False
