"""Commits of repos: how they are kept, and how they are made out of what a client sends."""

import base64
import fnmatch
import hashlib
import json
import re
import sqlite3
from itertools import zip_longest

from .errors import HubError
from .git_tree import Entry, Tree, blob_oid, tree_from_json, tree_to_json, xet_entry
from .store import Store
from .xet.storage import XetStorage


_XET_SUFFIXES = """
7z arrow bin bz2 ckpt ftz gz h5 joblib lz4 mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth rar
safetensors tar tflite tgz wasm xz zip zst
""".split()
_GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in [*(f"*.{suffix}" for suffix in _XET_SUFFIXES), "*tfevents*"]
)
_LARGEST_REGULAR_FILE = 10 * 1024 * 1024  # bytes


def first_tree(store: Store) -> Tree:
    """What a new repo holds: the `.gitattributes` that says which files go to the Xet storage."""
    return {".gitattributes": add_blob(store, _GITATTRIBUTES.encode())}


def add_blob(store: Store, content: bytes) -> Entry:
    oid = blob_oid(content)
    store.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", oid, content)
    return Entry(oid, len(content))


def read_blob(store: Store, oid: str) -> bytes:
    return store.row("SELECT content FROM blobs WHERE oid = ?", oid)["content"]


def head_of(store: Store, repo: sqlite3.Row, revision: str) -> str:
    """The commit that a branch or a commit hash stands for.

    Raises:
        [`HubError`]: If the repo has neither.
    """
    branch = store.row("SELECT head FROM branches WHERE repo = ? AND name = ?", repo["id"], revision)
    if branch is not None:
        return branch["head"]
    if store.row("SELECT 1 FROM commits WHERE repo = ? AND oid = ?", repo["id"], revision) is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return revision


def read_commit(store: Store, oid: str) -> sqlite3.Row:
    return store.row("SELECT * FROM commits WHERE oid = ?", oid)


def read_tree(store: Store, oid: str) -> Tree:
    return tree_from_json(read_commit(store, oid)["tree"])


def history(store: Store, oid: str | None) -> list[sqlite3.Row]:
    """A commit and its ancestors, the newest first."""
    commits = []
    while oid is not None:
        commits.append(read_commit(store, oid))
        oid = commits[-1]["parent"]
    return commits


def last_changes(store: Store, oid: str, paths: list[str]) -> dict[str, dict]:
    """For every path, the commit up to `oid` that last changed it. A folder changes with what is in it."""
    changes: dict[str, dict] = {}
    commits = history(store, oid)
    for commit, parent in zip_longest(commits, commits[1:]):
        tree = tree_from_json(commit["tree"])
        before = tree_from_json(parent["tree"]) if parent else {}
        changed = [path for path in tree.keys() | before.keys() if tree.get(path) != before.get(path)]
        for path in paths:
            if path not in changes and any(name == path or name.startswith(f"{path}/") for name in changed):
                changes[path] = {"id": commit["oid"], "title": commit["title"], "date": commit["created_at"]}
    return changes


def add_commit(
    store: Store, repo: sqlite3.Row, branch: str, parent: str | None, tree: Tree, title: str, message: str, author: str
) -> str:
    """Puts a commit on top of a branch and returns its hash."""
    time, tree_json = store.now(), tree_to_json(tree)
    oid = hashlib.sha1(json.dumps([repo["id"], parent, title, message, author, time, tree_json]).encode()).hexdigest()
    store.execute(
        "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(oid, repo["id"], parent, title, message, author, time, tree_json),
    )
    store.execute("INSERT OR REPLACE INTO branches VALUES (?, ?, ?)", repo["id"], branch, oid)
    return oid


def goes_to_xet(attributes: str, path: str, size: int, sample: bytes) -> bool:
    """Whether a file is uploaded to the Xet storage: large or binary, or because `.gitattributes` says so."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    name = path.rpartition("/")[2]
    return size > _LARGEST_REGULAR_FILE or b"\0" in sample or any(fnmatch.fnmatch(name, glob) for glob in patterns)


def apply_operation(store: Store, storage: XetStorage, tree: Tree, kind: str, operation: dict) -> None:
    """Changes a tree by one line of a commit request.

    Raises:
        [`HubError`]: If the content was not uploaded, or what is to be deleted does not exist.
    """
    path = operation["path"]
    if any(part in ("", ".", "..") for part in re.split(r"[/\\]", path.removesuffix("/"))):
        raise HubError(422, f"Invalid path '{path}'")
    if kind == "file":
        tree[path] = add_blob(store, base64.b64decode(operation["content"]))
    elif kind == "lfsFile":
        xet_hash = storage.file_of_sha256(operation["oid"])
        if xet_hash is None:
            raise HubError(400, f"The content of '{path}' has not been uploaded")
        tree[path] = xet_entry(operation["oid"], storage.file_size(xet_hash), xet_hash)
    elif kind == "deletedFile":
        if path not in tree:
            raise HubError(404, f"'{path}' does not exist", "EntryNotFound")
        del tree[path]
    elif kind == "deletedFolder":
        inside = [name for name in tree if name.startswith(path.rstrip("/") + "/")]
        if not inside:
            raise HubError(404, f"'{path}' does not exist", "EntryNotFound")
        for name in inside:
            del tree[name]
    else:
        raise HubError(400, f"Unknown operation '{kind}'")
