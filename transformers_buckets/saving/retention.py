"""How many committed checkpoints stay in the bucket, while more are pushed beside the deletion of old ones."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ..bucket.manifest import Place
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
        self._committed: dict[str, dict[str, Place]] = defaultdict(dict)
        self._looked_at: set[str] = set()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def pushing(self, run: CheckpointBucket, name: str, place: Place) -> Iterator[None]:
        """
        In this context a checkpoint is pushed: an older one of its name is not deleted meanwhile, nor this one later.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
            place ([`Place`]):
                Its place in the run. What is committed last need not be what was saved last.
        """
        with self._locks[f"{run.address}/{name}"]:
            yield
            self._committed[str(run.address)][name] = place

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
        if str(run.address) not in self._looked_at:
            for checkpoint in run.committed():
                # A step that was pushed again counts once, where it was pushed last.
                self._committed[str(run.address)].setdefault(checkpoint.name, checkpoint.manifest.place)
            self._looked_at.add(str(run.address))
        for name in self._surplus(run, best):
            with self._locks[f"{run.address}/{name}"]:
                if name in self._surplus(run, best):  # it may have been pushed anew meanwhile
                    run.root.check_owner()
                    run.delete([name])
                    self._committed[str(run.address)].pop(name, None)

    def _surplus(self, run: CheckpointBucket, best: str | None) -> list[str]:
        committed = dict(self._committed[str(run.address)])
        return surplus(sorted(committed, key=committed.get), self.limit, {best})
