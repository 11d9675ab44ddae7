"""The content of a repo at one commit: paths and what is behind them, with the identifiers that git would give."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file in a repo: small text is a blob of its own, everything else lies in the Xet storage.

    Args:
        oid (`str`):
            Git's identifier of the blob; for a file in the Xet storage, of the pointer file that git would hold.
        size (`int`):
            Bytes of the content.
        sha256 (`str`, *optional*), xet_hash (`str`, *optional*):
            Both set for a file in the Xet storage.
    """

    oid: str
    size: int
    sha256: str | None = None
    xet_hash: str | None = None

    def lfs_json(self) -> dict | None:
        if self.sha256 is None:
            return None
        return {"oid": self.sha256, "size": self.size, "pointerSize": len(_pointer(self.sha256, self.size))}


Tree = dict[str, Entry]


def blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def xet_entry(sha256: str, size: int, xet_hash: str) -> Entry:
    return Entry(blob_oid(_pointer(sha256, size)), size, sha256, xet_hash)


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree_to_json(tree: Tree) -> str:
    return json.dumps({path: [e.oid, e.size, e.sha256, e.xet_hash] for path, e in sorted(tree.items())})


def tree_from_json(text: str) -> Tree:
    return {path: Entry(*fields) for path, fields in json.loads(text).items()}
