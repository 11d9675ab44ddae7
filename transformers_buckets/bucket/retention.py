"""Which committed checkpoints stay in the bucket. Pure policy: names in, names out."""

from collections.abc import Collection, Sequence


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
    >>> from transformers_buckets.retention import surplus

    >>> surplus(["checkpoint-1", "checkpoint-2", "checkpoint-3"], limit=2, keep=["checkpoint-1"])
    ['checkpoint-2']
    ```
    """
    if limit is None:
        return []
    removable = [name for name in committed[:-1] if name not in keep]
    return removable[: max(0, len(committed) - limit)]
