"""How many committed checkpoints stay in the bucket, while more are pushed beside the deletion of old ones."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..bucket.address import step_of
from ..bucket.hub_client import reason
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
        if str(run.address) not in self._found:
            self._found[str(run.address)] = [checkpoint.name for checkpoint in run.committed()]
        for name in self._surplus(run, best, metrics):
            with self._locks[f"{run.address}/{name}"]:
                if name in self._surplus(run, best, metrics):  # it may have been pushed anew meanwhile
                    run.delete([name])
                    self._forget(run, name)

    def _surplus(self, run: CheckpointBucket, best: str | None, metrics: Metrics) -> list[str]:
        # A step that was pushed again counts once, where it was pushed last.
        committed = dict(self._committed[str(run.address)])
        earlier = [name for name in self._found[str(run.address)] if name not in committed]
        names = [*earlier, *sorted(committed, key=committed.get)]
        candidates = [Candidate(name, metrics.get(step_of(name), {})) for name in names]
        policies = [*self.policies, *([] if self.limit is None else [keep_total(self.limit, {best})])]
        try:
            return unwanted(candidates, policies, {best})
        except Exception as error:  # a policy is the user's own code
            logger.error(f"Nothing is deleted from {run.address}: {type(error).__name__}: {reason(error)}")
            return []

    def _forget(self, run: CheckpointBucket, name: str) -> None:
        self._found[str(run.address)] = [other for other in self._found[str(run.address)] if other != name]
        self._committed[str(run.address)].pop(name, None)
