"""What is done with a run besides training it: followed, released, pruned."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .checkpoint import RemoteCheckpoint
from .metrics import read_evaluations
from .promote import promote
from .reader import BucketReader
from .retention import Candidate, Policy, check_policies, keep_total, unwanted
from .watch import Seen, watch


class RunLifecycle(BucketReader):
    """The part of [`CheckpointBucket`] for what comes after a push."""

    def watch(
        self, seen: str | Path | None = None, interval: float = 30.0, timeout: float | None = None
    ) -> Iterator[RemoteCheckpoint]:
        """
        The committed checkpoints, those that are there and those to come: for evaluation in another process.

        A Hub that does not answer is told and asked again.

        Args:
            seen (`str` or `Path`, *optional*):
                A file that remembers what was dealt with: a checkpoint is added when the next one is asked for. A later
                iterator with the same file leaves it out. `None` begins with the first checkpoint.
            interval (`float`, *optional*, defaults to 30.0):
                Seconds between two looks at the bucket.
            timeout (`float`, *optional*):
                Seconds without a new commit after which it ends; 0 takes what is there. `None` goes on for ever.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read at the first look.

        Example:

        ```python
        >>> from transformers_buckets import CheckpointBucket

        >>> run = CheckpointBucket("hf://buckets/my-org/my-run")
        >>> for checkpoint in run.watch(seen="evaluated.txt", timeout=3600):
        ...     path = run.pull(checkpoint, "models", only_model=True)
        ...     evaluate(path)
        ```
        """
        memory = Seen(seen)
        for checkpoint in watch(self, memory, interval, timeout):
            yield checkpoint
            memory.add(checkpoint)

    def promote(
        self,
        checkpoint: "str | RemoteCheckpoint",
        repo_id: str,
        revision: str = "main",
        private: bool | None = None,
    ) -> str:
        """
        Publish the model of a checkpoint in a model repo: one commit with weights, configuration, tokenizer and a card.

        Weights that the repo had before and that are not among the new ones are deleted in the same commit, and so is what says
        of what kind its model was. A model card that it has stays, unless this wrote it. The files go through this machine,
        each verified: the Hub does not copy from a bucket to a repo. What it has already is not sent again.

        Args:
            checkpoint (`str` or [`RemoteCheckpoint`]):
                Name, `best`, or result of a listing.
            repo_id (`str`):
                The model repo, `namespace/name`, or `name` in the namespace of the user. Created if there is none.
            revision (`str`, *optional*, defaults to `"main"`):
                Branch of the repo; made from `main` if there is none.
            private (`bool`, *optional*):
                Whether a repo that is created is private. `None` leaves it to the Hub. With `True`, one that is there and
                public is refused.

        Returns:
            `str`: The page of the commit.

        Raises:
            [`CheckpointNotFoundError`]: If there is no such checkpoint.
            [`BrokenCheckpointError`]: If the checkpoint is not committed, or does not arrive as it was.
            [`BucketAccessError`]: If the Hub refuses or does not answer, or the repo is public and should not be.
            [`BucketAddressError`]: If there can be no such repo or branch.
            `ValueError`: If it holds no weights by the names that `from_pretrained` knows.

        Example:

        ```python
        >>> from transformers_buckets import CheckpointBucket

        >>> CheckpointBucket("my-org/my-run").promote("best", "my-org/my-model")
        'https://huggingface.co/my-org/my-model/commit/5d83b9ed820cd526'
        ```
        """
        if isinstance(checkpoint, str):
            checkpoint = self.find(checkpoint)
        return promote(self, checkpoint, repo_id, revision, private)

    def prunable(self, keep: int | Sequence[Policy]) -> list[str]:
        """
        The committed checkpoints that may go. The newest and the best are never among them.

        Args:
            keep (`int` or `Sequence[Policy]`):
                How many may stay, the best included, as `bucket_total_limit` says it; or what to keep: [`keep_last`],
                [`keep_every`], [`keep_best`], or any function from a list of checkpoints to a list of those to keep, or
                of their names. What one of them keeps stays.

        Raises:
            `TypeError`: If `keep` is neither.
            `ValueError`: If a policy returns something else.
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        committed = self.committed()
        if not committed:
            return []
        best = committed[-1].manifest.best_checkpoint
        policies = [keep_total(keep, {best})] if isinstance(keep, int) else check_policies(keep, "keep")
        metrics = {} if isinstance(keep, int) else read_evaluations(self, committed[-1])
        candidates = [Candidate(checkpoint.name, metrics.get(checkpoint.step, {})) for checkpoint in committed]
        return unwanted(candidates, policies, {best})
