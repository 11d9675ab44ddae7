"""A Hub in memory: the few methods of `HfApi` that the package uses, with faults, and the part of hf_xet that it uses."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import httpx
from huggingface_hub import BucketFile, BucketFolder
from huggingface_hub._buckets import _BucketAddFile
from huggingface_hub.errors import HfHubHTTPError


_BEGINNING = datetime(2026, 1, 1, tzinfo=timezone.utc)
_EMPTY = "0" * 64
# What can go wrong with a request: it is refused, it never arrives, only part of it is done, its answer is lost, a byte flips.
TROUBLES = ("refused", "cut", "partly", "lost answer", "flipped")


class StoredFile(NamedTuple):
    """A file in a bucket."""

    size: int
    xet_hash: str
    uploaded_at: datetime


def hash_of(content: bytes) -> str:
    """A quick stand-in for the Xet hash."""
    return hashlib.blake2b(content, digest_size=32).hexdigest() if content else _EMPTY


def hash_files(paths: list[str]) -> list:
    """As `hf_xet.hash_files`."""
    contents = [Path(path).read_bytes() for path in paths]
    return [SimpleNamespace(file_size=len(content), hash=hash_of(content)) for content in contents]


class MemoryHub:
    """
    Buckets in memory.

    Args:
        operation (`Callable`):
            Called before each request, and before the answer to those that change something. Tells whether a task asks.
        clock (`Callable`):
            Tells the time, in seconds.
    """

    def __init__(self, operation: Callable[[], bool], clock: Callable[[], int]):
        self.operation, self.clock = operation, clock
        self.buckets: dict[str, dict[str, StoredFile]] = {}
        self.contents: dict[str, bytes] = {_EMPTY: b""}
        self.troubles: list[tuple[int, str]] = []  # how many requests come before, and what goes wrong then
        self.seen = Counter()  # of them
        self.before_change: Callable[[str, str, str | None], None] = lambda bucket_id, path, xet_hash: None
        self.changes = 0

    # ---- For the test ----

    def put(self, bucket_id: str, path: str, content: bytes) -> None:
        """Somebody who does not use this package uploads a file."""
        self._set(bucket_id, path, self._store(content))

    def read(self, bucket_id: str, path: str) -> bytes | None:
        """The content of a file; `None` if there is none."""
        file = self.buckets[bucket_id].get(path)
        return None if file is None else self.contents[file.xet_hash]

    def copy(self, source: str, target: str, paths: list[str]) -> None:
        """Copy files from a bucket to another, in this order."""
        self.buckets.setdefault(target, {})
        for path in paths:
            self.clock()
            self._set(target, path, self.buckets[source][path].xet_hash)

    # ---- The methods of HfApi; the first argument is the client ----

    def whoami(self, api) -> dict:
        return {"name": "demo"}

    def create_bucket(self, api, bucket_id: str, private=None, exist_ok: bool = False):
        trouble = self._request()
        if bucket_id in self.buckets and not exist_ok:
            raise _http_error(409)
        self.buckets.setdefault(bucket_id, {})
        _answer(trouble)
        return SimpleNamespace(bucket_id=bucket_id)

    def bucket_info(self, api, bucket_id: str):
        _answer(self._request())
        return SimpleNamespace(id=bucket_id, private=True)

    def list_bucket_tree(self, api, bucket_id: str, prefix: str | None = None, recursive: bool = False) -> Iterator:
        _answer(self._request())
        files = self.buckets[bucket_id]
        if recursive:
            return iter([_told(path, file) for path, file in sorted(files.items()) if path.startswith(prefix or "")])
        start = f"{prefix}/" if prefix else ""
        children = {}
        for path, file in sorted(files.items()):
            if path.startswith(start):
                child = start + path[len(start) :].split("/")[0]
                is_file = child == path
                children[child] = _told(path, file) if is_file else BucketFolder(type="directory", path=child)
        return iter(children.values())

    def get_bucket_paths_info(self, api, bucket_id: str, paths: list[str]) -> Iterator[BucketFile]:
        _answer(self._request())
        files = self.buckets[bucket_id]
        return iter([_told(path, files[path]) for path in paths if path in files])

    def get_bucket_file_metadata(self, api, bucket_id: str, path: str):
        _answer(self._request())
        return SimpleNamespace(xet_file_data=SimpleNamespace(refresh_route="/"))

    def download_bucket_files(self, api, bucket_id: str, files: list) -> None:
        for remote, target in files:
            trouble = self._request()
            content = self.contents[remote.xet_hash]
            if trouble == "flipped" and content:
                content = content[:-1] + bytes([content[-1] ^ 1])
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_bytes(content[: len(content) // 2] if trouble == "partly" else content)
            _answer(trouble)

    def batch_bucket_files(self, api, bucket_id: str, copy=(), delete=()) -> None:
        changes = [(path, xet_hash) for _, _, xet_hash, path in copy] + [(path, None) for path in delete]
        self._batch(bucket_id, changes)

    def _batch_bucket_files(self, api, bucket_id: str, add: list[_BucketAddFile], _progress=None) -> None:
        for file in add:
            if file.xet_hash is None:
                content = file.source if isinstance(file.source, bytes) else Path(file.source).read_bytes()
                file.xet_hash, file.size = self._store(content), len(content)
        self._batch(bucket_id, [(file.destination, file.xet_hash) for file in add])

    def continue_download(self, xet_hash: str, start: int) -> bytes:
        """What hf_xet streams from some byte on."""
        _answer(self._request())
        return self.contents[xet_hash][start:]

    # ---- How it is done ----

    def _request(self) -> str | None:
        if not self.operation():  # the test itself looks
            return None
        self.troubles = [(count - 1, kind) for count, kind in self.troubles]
        due = [kind for count, kind in self.troubles if count < 0]
        self.troubles = [(count, kind) for count, kind in self.troubles if count >= 0]
        if not due:
            return None
        if "flipped" in due:
            self.troubles = [(count, kind) for count, kind in self.troubles if kind != "flipped"]
        self.seen[due[0]] += 1
        if due[0] == "refused":
            raise _http_error(503)
        if due[0] == "cut":
            raise ConnectionError("the connection broke before the request arrived")
        return due[0]

    def _batch(self, bucket_id: str, changes: list[tuple[str, str | None]]) -> None:
        trouble = self._request()
        files, failed = self.buckets[bucket_id], 0
        for path, xet_hash in changes[: len(changes) // 2] if trouble == "partly" else changes:
            if xet_hash is None and path not in files or xet_hash is not None and xet_hash not in self.contents:
                failed += 1
            else:
                self.before_change(bucket_id, path, xet_hash)
                self._set(bucket_id, path, xet_hash)
        self.operation()  # the answer is on its way
        _answer(trouble)
        if failed:
            raise _http_error(422 if failed == len(changes) else 200)

    def _set(self, bucket_id: str, path: str, xet_hash: str | None) -> None:
        self.changes += 1
        files = self.buckets.setdefault(bucket_id, {})
        if xet_hash is None:
            del files[path]
        else:
            uploaded_at = _BEGINNING + timedelta(seconds=self.clock())
            files[path] = StoredFile(len(self.contents[xet_hash]), xet_hash, uploaded_at)

    def _store(self, content: bytes) -> str:
        xet_hash = hash_of(content)
        self.contents[xet_hash] = content
        return xet_hash


def _answer(trouble: str | None) -> None:
    if trouble in ("partly", "lost answer"):
        raise ConnectionError(f"the connection broke ({trouble})")


def _http_error(status: int) -> HfHubHTTPError:
    request = httpx.Request("POST", "http://hub/api/buckets")
    return HfHubHTTPError(f"{status} for this request", response=httpx.Response(status, request=request))


def _told(path: str, file: StoredFile) -> BucketFile:
    told = BucketFile(type="file", path=path, size=file.size, xetHash=file.xet_hash)
    told.uploaded_at = file.uploaded_at
    return told
