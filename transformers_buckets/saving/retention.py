"""How many committed checkpoints stay in the bucket, while more are pushed beside the deletion of old ones."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..bucket.address import step_of
from ..bucket.hub_client import reason
from ..bucket.manifest import Place
from ..bucket.metrics import Metrics
from ..bucket.retention import Candidate, Policy, keep_total, unwanted
from ..bucket.writer import CheckpointBucket


logger = logging.getLogger(__name__)


class Retention:
    """
    Deletes the committed checkpoints of a run that are too many.

    Args:
        limit (`int`, *optional*):
            How many stay. `None` for all.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self.policies: Sequence[Policy] = ()  # what one of them keeps stays besides
        self._committed: dict[str, dict[str, Place]] = defaultdict(dict)
        self._looked_at: set[str] = set()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def pushing(self, run: CheckpointBucket, name: str) -> Iterator[None]:
        """
        In this context a checkpoint is pushed: an older one of its name is not deleted meanwhile.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
        """
        with self._locks[f"{run.address}/{name}"]:
            yield

    def committed(self, run: CheckpointBucket, name: str, place: Place) -> None:
        """
        Take note of a commit, before the context of [`~Retention.pushing`] is left.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
            place ([`Place`]):
                Its place in the run. What is committed last need not be what was saved last.
        """
        self._committed[str(run.address)][name] = place

    def apply(self, run: CheckpointBucket, best: str | None, metrics: Metrics) -> None:
        """
        Delete what is too much.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            best (`str`, *optional*):
                Name of the best checkpoint, which stays.
            metrics (`Metrics`):
                What evaluations found, by step; for the policies.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        if self.limit is None and not self.policies:
            return
        if str(run.address) not in self._looked_at:
            for checkpoint in run.committed():
                # A step that was pushed again counts once, where it was pushed last.
                self._committed[str(run.address)].setdefault(checkpoint.name, checkpoint.manifest.place)
            self._looked_at.add(str(run.address))
        for name in self._surplus(run, best, metrics):
            with self._locks[f"{run.address}/{name}"]:
                if name in self._surplus(run, best, metrics):  # it may have been pushed anew meanwhile
                    run.root.check_owner()
                    run.delete([name])
                    self._committed[str(run.address)].pop(name, None)

    def _surplus(self, run: CheckpointBucket, best: str | None, metrics: Metrics) -> list[str]:
        committed = dict(self._committed[str(run.address)])
        candidates = [Candidate(name, metrics.get(step_of(name), {})) for name in sorted(committed, key=committed.get)]
        policies = [*self.policies, *([] if self.limit is None else [keep_total(self.limit, {best})])]
        try:
            return unwanted(candidates, policies, {best})
        except Exception as error:  # a policy is the user's own code
            logger.error(f"Nothing is deleted from {run.address}: {type(error).__name__}: {reason(error)}")
            return []
