"""How many committed checkpoints stay in the bucket, while more are pushed beside the deletion of old ones."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ..bucket.retention import surplus
from ..bucket.writer import CheckpointBucket


class Retention:
    """
    Deletes the committed checkpoints of a run that are too many.

    Args:
        limit (`int`, *optional*):
            How many stay. `None` for all.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self._found: dict[str, list[str]] = {}
        self._committed: dict[str, dict[str, tuple]] = defaultdict(dict)
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def pushing(self, run: CheckpointBucket, name: str, order: tuple) -> Iterator[None]:
        """
        In this context a checkpoint is pushed: an older one of its name is not deleted meanwhile, nor this one later.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
            order (`tuple`):
                Grows with each save. What is committed last need not be what was saved last.
        """
        with self._locks[f"{run.address}/{name}"]:
            yield
            self._committed[str(run.address)][name] = order

    def apply(self, run: CheckpointBucket, best: str | None) -> None:
        """
        Delete what is too much.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            best (`str`, *optional*):
                Name of the best checkpoint, which stays.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        if self.limit is None:
            return
        if str(run.address) not in self._found:
            self._found[str(run.address)] = [checkpoint.name for checkpoint in run.committed()]
        for name in self._surplus(run, best):
            with self._locks[f"{run.address}/{name}"]:
                if name in self._surplus(run, best):  # it may have been pushed anew meanwhile
                    run.delete([name])
                    self._forget(run, name)

    def _surplus(self, run: CheckpointBucket, best: str | None) -> list[str]:
        # A step that was pushed again counts once, where it was pushed last.
        committed = dict(self._committed[str(run.address)])
        earlier = [name for name in self._found[str(run.address)] if name not in committed]
        return surplus([*earlier, *sorted(committed, key=committed.get)], self.limit, {best})

    def _forget(self, run: CheckpointBucket, name: str) -> None:
        self._found[str(run.address)] = [other for other in self._found[str(run.address)] if other != name]
        self._committed[str(run.address)].pop(name, None)
