"""How many committed checkpoints stay in the bucket, while more are pushed beside the deletion of old ones."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..bucket.address import step_of
from ..bucket.hub_client import reason
from ..bucket.manifest import MANIFEST_NAME, Manifest, Place
from ..bucket.metrics import Metrics
from ..bucket.retention import Candidate, Policy, keep_total, unwanted
from ..bucket.writer import CheckpointBucket


logger = logging.getLogger(__name__)

# The newest so many are asked about before something is deleted, and the best: what a save costs must not grow with the bucket.
_ASKED = 10


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
        self._committed: dict[str, dict[str, Manifest]] = defaultdict(dict)
        self._looked_at: set[str] = set()
        self._last: dict[str, str] = {}  # what this training committed last of each run
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

    def committed(self, run: CheckpointBucket, name: str, manifest: Manifest) -> None:
        """
        Take note of a commit, before the context of [`~Retention.pushing`] is left.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
            manifest ([`Manifest`]):
                What was committed. It need not be what was saved last.
        """
        ours = self._committed[str(run.address)]
        ours[name] = manifest
        last = ours.get(self._last.get(str(run.address)))
        if last is None or manifest.place >= last.place:
            self._last[str(run.address)] = name

    def apply(self, run: CheckpointBucket, metrics: Metrics) -> None:
        """
        Delete what is too much. The best checkpoint, as the latest one knows it, stays.

        Args:
            run ([`CheckpointBucket`]):
                The run.
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
                self._committed[str(run.address)].setdefault(checkpoint.name, checkpoint.manifest)
            self._looked_at.add(str(run.address))
            # Somebody may have copied in what stands higher. What is saved from now on comes after that.
            found = self._committed[str(run.address)].values()
            others = [one.place for one in found if one.push_id is None or one.push_id.writer != run.root.writer.id]
            run.root.come_after(max(others, default=Place()))
        if self._surplus(run, metrics):
            self._forget_what_is_gone(run)
        for name in self._surplus(run, metrics):
            with self._locks[f"{run.address}/{name}"]:
                if name in self._surplus(run, metrics):  # it may have been pushed anew meanwhile
                    run.root.check_owner()
                    run.delete([name], missing_ok=True)
                    self._committed[str(run.address)].pop(name, None)

    def _forget_what_is_gone(self, run: CheckpointBucket) -> None:
        """Commands delete as well. What is not there any more must not count as one of those that stay."""
        ordered = self._ordered(run)
        for name in _gone(run, {*ordered[-_ASKED:], *(self._pinned(run, ordered) & set(ordered))}):
            with self._locks[f"{run.address}/{name}"]:
                if _gone(run, [name]):  # else it was pushed anew meanwhile
                    self._committed[str(run.address)].pop(name, None)

    def _ordered(self, run: CheckpointBucket) -> list[str]:
        committed = dict(self._committed[str(run.address)])
        return sorted(committed, key=lambda name: committed[name].place)

    def _pinned(self, run: CheckpointBucket, ordered: Sequence[str]) -> set[str | None]:
        """What this training committed last, and the best checkpoints as that one and the newest know them."""
        last = self._last.get(str(run.address))
        newest = [self._committed[str(run.address)].get(name) for name in (last, *ordered[-1:])]
        return {last, *(manifest.best_checkpoint for manifest in newest if manifest)}

    def _surplus(self, run: CheckpointBucket, metrics: Metrics) -> list[str]:
        names = self._ordered(run)
        candidates = [Candidate(name, metrics.get(step_of(name), {})) for name in names]
        pinned = self._pinned(run, names)
        limit = () if self.limit is None else (keep_total(self.limit, pinned),)
        try:
            return unwanted(candidates, (*self.policies, *limit), pinned)
        except Exception as error:  # a policy is the user's own code
            logger.error(f"Nothing is deleted from {run.address}: {type(error).__name__}: {reason(error)}")
            return []


def _gone(run: CheckpointBucket, names: Iterable[str]) -> list[str]:
    """Those that are not committed any more."""
    marks = {run.address.path(name, MANIFEST_NAME): name for name in names}
    there = {file.path for file in run.api.get_bucket_paths_info(run.address.bucket_id, list(marks))}
    return [name for path, name in marks.items() if path not in there]
