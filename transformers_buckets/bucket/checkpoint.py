"""A checkpoint as it lies in a bucket, and how a list of them is put into a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .address import step_of
from .manifest import Manifest


@dataclass(frozen=True)
class RemoteCheckpoint:
    """
    A checkpoint as it lies in a bucket.

    Args:
        name (`str`):
            `checkpoint-<step>`.
        state (`str`):
            `"committed"` (manifest there, every file matches), `"unmarked"` (no manifest: copied by hand, pushed by another
            tool, or a push that never ended) or `"broken"` (something does not match, or cannot be a checkpoint).
        committed_at (`datetime`, *optional*):
            When the manifest was uploaded, by the clock of the Hub.
        manifest ([`Manifest`], *optional*):
            What it consists of: `step`, `size`, `files`, and `best_checkpoint`, the name of the best one so far. `None` if that
            cannot be told.
        problems (`tuple[str]`, *optional*):
            Why it is broken.
    """

    name: str
    state: str
    committed_at: datetime | None = None
    manifest: Manifest | None = None
    problems: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The global step in its name."""
        return step_of(self.name)

    @property
    def size(self) -> int:
        """Bytes of all files together; 0 if that cannot be told."""
        return self.manifest.size if self.manifest else 0


def listed(items: Sequence[str], separator: str = ", ", limit: int = 5) -> str:
    """Names for a message: the first few, and how many more there are."""
    more = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return separator.join([*items[:limit], *more])
