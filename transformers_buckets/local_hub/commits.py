"""Commits of repos: how they are kept, and how they are made out of what a client sends."""

import base64
import fnmatch
import hashlib
import json
import re
import sqlite3
from itertools import zip_longest
from typing import NamedTuple

from .accounts import Account
from .bodies import require
from .errors import HubError
from .permissions import usable_by_sha256
from .store import Store, now
from .xet.storage import file_size


_XET_SUFFIXES = """
7z arrow bin bz2 ckpt ftz gz h5 joblib lz4 mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth rar
safetensors tar tflite tgz wasm xz zip zst
""".split()
_GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in [*(f"*.{suffix}" for suffix in _XET_SUFFIXES), "*tfevents*"]
)
_LARGEST_REGULAR_FILE = 10 * 1024 * 1024  # bytes


class Entry(NamedTuple):
    """A file in a repo: small text is a blob of its own, everything else lies in the Xet storage.

    `oid` is git's name of the blob, or of the pointer file that git would hold for a file in the Xet storage.
    """

    oid: str
    size: int
    sha256: str | None = None
    xet_hash: str | None = None


Tree = dict[str, Entry]


def blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def first_tree(store: Store) -> Tree:
    """What a new repo holds: the `.gitattributes` that says which files go to the Xet storage."""
    return {".gitattributes": _add_blob(store, _GITATTRIBUTES.encode())}


def _add_blob(store: Store, content: bytes) -> Entry:
    oid = blob_oid(content)
    store.keep_bytes(content, store.blob_path(oid))
    return Entry(oid, len(content))


def head_of(store: Store, repo: sqlite3.Row, revision: str) -> str:
    """The commit that a branch or a commit hash stands for."""
    branch = store.row("SELECT head FROM branches WHERE repo = ? AND name = ?", repo["id"], revision)
    if branch is not None:
        return branch["head"]
    if store.row("SELECT 1 FROM commits WHERE repo = ? AND oid = ?", repo["id"], revision) is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return revision


def read_tree(store: Store, oid: str) -> Tree:
    files = store.rows(
        "SELECT path, oid, size, sha256, xet_hash FROM commit_files WHERE in_commit = ? ORDER BY path", oid
    )
    return {path: Entry(*fields) for path, *fields in files}


def history(store: Store, oid: str | None) -> list[sqlite3.Row]:
    """A commit and its ancestors, the newest first."""
    commits = []
    while oid is not None:
        commits.append(store.row("SELECT * FROM commits WHERE oid = ?", oid))
        oid = commits[-1]["parent"]
    return commits


def last_changes(store: Store, oid: str, paths: list[str]) -> dict[str, dict]:
    """For every path, the commit up to `oid` that last changed it. A folder changes with what is in it."""
    changes: dict[str, dict] = {}
    commits = history(store, oid)
    for commit, parent in zip_longest(commits, commits[1:]):
        tree = read_tree(store, commit["oid"])
        before = read_tree(store, parent["oid"]) if parent else {}
        changed = [path for path in tree.keys() | before.keys() if tree.get(path) != before.get(path)]
        for path in paths:
            if path not in changes and any(name == path or name.startswith(f"{path}/") for name in changed):
                changes[path] = {"id": commit["oid"], "title": commit["title"], "date": commit["created_at"]}
    return changes


def add_commit(
    store: Store, repo: sqlite3.Row, branch: str, parent: str | None, tree: Tree, title: str, message: str, author: str
) -> str:
    """Puts a commit on top of a branch and returns its hash."""
    fields = (repo["id"], parent, title, message, author, now())
    oid = hashlib.sha1(json.dumps([branch, fields, tree]).encode()).hexdigest()
    store.execute("INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?)", oid, *fields)
    for path, entry in tree.items():
        store.execute("INSERT INTO commit_files VALUES (?, ?, ?, ?, ?, ?)", oid, path, *entry)
    store.execute("INSERT OR REPLACE INTO branches VALUES (?, ?, ?)", repo["id"], branch, oid)
    return oid


def goes_to_xet(attributes: str, path: str, size: int, sample: bytes) -> bool:
    """Whether a file is uploaded to the Xet storage: large or binary, or because `.gitattributes` says so."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    name = path.rpartition("/")[2]
    return size > _LARGEST_REGULAR_FILE or b"\0" in sample or any(fnmatch.fnmatch(name, glob) for glob in patterns)


def apply_operation(store: Store, account: Account, tree: Tree, kind: str, operation: dict) -> None:
    """Changes a tree by one line of a commit request."""
    require(operation, path=str)
    path = operation["path"]
    name = path.removesuffix("/") if kind == "deletedFolder" else path
    if any(part in ("", ".", "..") for part in re.split(r"[/\\]", name)):
        raise HubError(422, f"Invalid path '{path}'")
    if kind == "file":
        require(operation, content=str)
        tree[path] = _add_blob(store, decode_base64(operation["content"]))
    elif kind == "lfsFile":
        require(operation, oid=str)
        tree[path] = _xet_entry(store, account, path, operation["oid"])
    elif kind in ("deletedFile", "deletedFolder"):
        deleted = (
            [path] if kind == "deletedFile" else [name for name in tree if name.startswith(path.rstrip("/") + "/")]
        )
        if not tree.keys() & deleted:
            raise HubError(404, f"'{path}' does not exist", "EntryNotFound")
        for name in deleted:
            del tree[name]
    else:
        raise HubError(400, f"Unknown operation '{kind}'")


def _xet_entry(store: Store, account: Account, path: str, sha256: str) -> Entry:
    xet_hash = usable_by_sha256(store, account, sha256)
    if xet_hash is None:
        raise HubError(400, f"The content of '{path}' has not been uploaded")
    size = file_size(store, xet_hash)
    return Entry(blob_oid(lfs_pointer(sha256, size)), size, sha256, xet_hash)


def decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise HubError(400, f"Malformed base64: {error}") from error
