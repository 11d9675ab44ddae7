"""Which committed checkpoints stay in the bucket. Pure policies: checkpoints in, names of those to keep out."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Integral
from typing import NamedTuple

from .address import CHECKPOINT_NAME, step_of


class Candidate(NamedTuple):
    """What a policy is told of a checkpoint: its name, and the metrics of the evaluation at its step."""

    name: str
    metrics: Mapping[str, float] = {}

    @property
    def step(self) -> int:
        """The global step in its name."""
        return step_of(self.name)


# Given the committed checkpoints of one run, the one committed last at the end, which of them it wants to keep.
Policy = Callable[[Sequence[Candidate]], Collection[str]]


def check_policies(policies: object, argument: str) -> tuple[Policy, ...]:
    """
    Make sure that these are policies, before one of them is asked.

    Args:
        policies (`object`):
            What the user gave.
        argument (`str`):
            How the user gives it; named in the error.

    Raises:
        `TypeError`: If not, with the way out.
    """
    if isinstance(policies, Iterable) and not isinstance(policies, str):
        policies = tuple(policies)
        if all(map(callable, policies)):
            return policies
    raise TypeError(f"{argument} = {policies!r}: must be a list of policies. Write {argument} = [keep_last(2)].")


def keep_last(count: int) -> Policy:
    """
    Keep the checkpoints committed last.

    Args:
        count (`int`):
            How many.

    Example:

    ```python
    >>> from transformers_buckets import CheckpointBucket, keep_every, keep_last

    >>> run = CheckpointBucket("my-org/my-run")
    >>> run.delete(run.prunable([keep_last(2), keep_every(1000)]))
    ```
    """
    _at_least_one(count=count)
    return lambda candidates: [candidate.name for candidate in candidates[-count:]]


def keep_every(steps: int) -> Policy:
    """
    Keep the checkpoints at the multiples of a number of steps, for ever.

    Args:
        steps (`int`):
            The number of steps.
    """
    _at_least_one(steps=steps)
    return lambda candidates: [candidate.name for candidate in candidates if candidate.step % steps == 0]


def keep_best(count: int, metric: str = "loss", greater_is_better: bool | None = None) -> Policy:
    """
    Keep the checkpoints with the best values of a metric. Those that were not evaluated do not count, unless none was yet.

    Args:
        count (`int`):
            How many.
        metric (`str`, *optional*, defaults to `"loss"`):
            A metric of the evaluation, with `eval_` in front or without, as in `metric_for_best_model`.
        greater_is_better (`bool`, *optional*):
            Whether better is greater. Defaults to what transformers assumes: unless the metric ends in `loss`.

    Raises:
        `ValueError`: When it is asked and there were evaluations, but none with this metric; names those there are.
    """
    _at_least_one(count=count)
    name = metric if metric.startswith("eval_") else f"eval_{metric}"
    greater = not name.endswith("loss") if greater_is_better is None else greater_is_better

    def keep(candidates: Sequence[Candidate]) -> list[str]:
        known = set().union(*(candidate.metrics for candidate in candidates))
        if not known:
            return [candidate.name for candidate in candidates]  # nothing tells which of them will be missed
        if name not in known:
            raise ValueError(f"metric={metric!r}: the evaluations of this run have {', '.join(sorted(known))}.")
        # Of equal ones the newest: it has been trained for longer.
        evaluated = [candidate for candidate in reversed(candidates) if name in candidate.metrics]
        ranked = sorted(evaluated, key=lambda candidate: candidate.metrics[name], reverse=greater)
        return [candidate.name for candidate in ranked[:count]]

    return keep


def keep_total(limit: int, also: Collection[str] = ()) -> Policy:
    """
    Keep what `bucket_total_limit` keeps, so that no more than a number are left.

    Args:
        limit (`int`):
            The number.
        also (`Collection[str]`, *optional*):
            Names that stay and count, such as the best checkpoint.
    """
    _at_least_one(limit=limit)

    def keep(candidates: Sequence[Candidate]) -> set[str]:
        names = [candidate.name for candidate in candidates]
        return set(names) - set(surplus(names, limit, also))

    return keep


def unwanted(candidates: Sequence[Candidate], policies: Sequence[Policy], keep: Collection[str] = ()) -> list[str]:
    """
    The checkpoints to delete: those that no policy keeps. The newest and those in `keep` always stay.

    Args:
        candidates (`Sequence[Candidate]`):
            The committed checkpoints of one run, the one committed last at the end.
        policies (`Sequence[Policy]`):
            At least one: without any, all are kept.
        keep (`Collection[str]`, *optional*):
            Names that must stay, such as the best checkpoint.

    Raises:
        `ValueError`: If a policy returns something else than names of checkpoints; says which one and what.
    """
    if not policies:
        return []
    kept = {*keep, *(candidate.name for candidate in candidates[-1:])}
    for policy in policies:
        kept.update(_names(policy, policy(candidates)))
    return [candidate.name for candidate in candidates if candidate.name not in kept]


def surplus(committed: Sequence[str], limit: int | None, keep: Collection[str] = ()) -> list[str]:
    """
    The checkpoints to delete so that at most `limit` are left.

    The newest and those in `keep` always stay, even if that makes more than `limit`.

    Args:
        committed (`Sequence[str]`):
            Names of the committed checkpoints of one run, the one committed last at the end.
        limit (`int`, *optional*):
            How many may stay. `None` keeps all.
        keep (`Collection[str]`, *optional*):
            Names that must stay, such as the best checkpoint.

    Example:

    ```python
    >>> from transformers_buckets.bucket.retention import surplus

    >>> surplus(["checkpoint-1", "checkpoint-2", "checkpoint-3"], limit=2, keep=["checkpoint-1"])
    ['checkpoint-2']
    ```
    """
    if limit is None:
        return []
    removable = [name for name in committed[:-1] if name not in keep]
    return removable[: max(0, len(committed) - limit)]


def _names(policy: Policy, returned: object) -> list[str]:
    """What a policy wants to keep: names, or the checkpoints themselves. Whatever else it means, it is not to delete the rest."""
    if isinstance(returned, Iterable) and not isinstance(returned, str | Candidate):
        returned = list(returned)
        names = [item.name if isinstance(item, Candidate) else item for item in returned]
        if all(isinstance(name, str) and CHECKPOINT_NAME.match(name) for name in names):
            return names
    raise ValueError(
        f"the policy {getattr(policy, '__qualname__', policy)} returned {returned!r:.200}: it must return a list of names, "
        "such as ['checkpoint-500']."
    )


def _at_least_one(**argument: int) -> None:
    ((name, value),) = argument.items()
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r}: must be at least 1, a whole number.")
