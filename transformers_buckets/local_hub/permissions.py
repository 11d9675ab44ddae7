"""Who may use which content. A hash opens nothing by itself: every listing shows it."""

import json
import sqlite3

from .accounts import Account
from .store import Store
from .xet.hash import EMPTY_FILE


def may_use(store: Store, account: Account, xet_hash: str) -> bool:
    """Whether an account may read the content with this hash, or put it into a bucket."""
    return xet_hash == EMPTY_FILE or _usable(store, account, "xet_hash", xet_hash) is not None


def usable_by_sha256(store: Store, account: Account, sha256: str) -> str | None:
    """The Xet hash of a content that an account may use, by its SHA-256."""
    return _usable(store, account, "sha256", sha256)


def _usable(store: Store, account: Account, column: str, value: str) -> str | None:
    """What the account's user uploaded, or what lies in a bucket or a repo that the account may read."""
    found = store.row(
        f"SELECT xet_hash FROM uploads WHERE user = ? AND {column} = ? UNION ALL "
        f"SELECT xet_hash FROM contents JOIN repos ON repos.id = repo WHERE {column} = ? "
        "AND (NOT private OR namespace IN (SELECT value FROM json_each(?))) LIMIT 1",
        *(account.user, value, value, json.dumps(list(account.rights))),
    )
    return None if found is None else found["xet_hash"]


def holds(store: Store, repo: sqlite3.Row, xet_hash: str) -> bool:
    """Whether a file of a bucket, or of any commit of a repo, has this content."""
    return store.row("SELECT 1 FROM contents WHERE repo = ? AND xet_hash = ?", repo["id"], xet_hash) is not None
