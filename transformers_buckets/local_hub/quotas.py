"""How much a namespace may store."""

from .errors import HubError
from .store import Store


def set_quota(store: Store, namespace: str, limit: int | None) -> None:
    """Sets the quota of a namespace in bytes; None lifts it."""
    store.execute("DELETE FROM quotas WHERE namespace = ?", namespace)
    if limit is not None:
        store.execute("INSERT INTO quotas VALUES (?, ?)", namespace, limit)


def require_room(store: Store, namespace: str) -> None:
    """Refuses what was just written, in the transaction that is still open, if the namespace now is too large."""
    quota = store.row("SELECT bytes FROM quotas WHERE namespace = ?", namespace)
    if quota is None:
        return
    used = store.row(
        "SELECT coalesce(sum(size), 0) AS bytes FROM bucket_files JOIN buckets ON buckets.id = bucket"
        " WHERE namespace = ?",
        namespace,
    )
    if used["bytes"] > quota["bytes"]:
        raise HubError(
            403,
            f"Storage quota of namespace '{namespace}' exceeded: {used['bytes']} bytes needed, {quota['bytes']} allowed",
        )
