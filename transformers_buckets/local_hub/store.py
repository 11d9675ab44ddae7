"""Everything the local Hub remembers: one SQLite file for names and metadata, plain files for content."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from starlette.requests import Request

from .errors import CannotServe


_LAYOUT = 3  # of the folder; 1 had no mark and kept tokens in clear, 2 did not know the chunks of a xorb

SCHEMA = f"""
BEGIN;
PRAGMA user_version = {_LAYOUT};

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tokens (hash TEXT PRIMARY KEY, user TEXT NOT NULL, rights TEXT NOT NULL);
CREATE TABLE quotas (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL);

CREATE TABLE repos (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    private INTEGER NOT NULL, created_at TEXT NOT NULL, UNIQUE (type, namespace, name)
);
CREATE VIEW buckets AS SELECT * FROM repos WHERE type = 'bucket';
CREATE TABLE bucket_files (
    bucket INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, path TEXT NOT NULL, xet_hash TEXT NOT NULL,
    size INTEGER NOT NULL, mtime TEXT NOT NULL, uploaded_at TEXT NOT NULL, content_type TEXT,
    PRIMARY KEY (bucket, path)
) WITHOUT ROWID;
CREATE INDEX bucket_contents ON bucket_files (xet_hash);

CREATE TABLE branches (
    repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, name TEXT NOT NULL, head TEXT NOT NULL,
    PRIMARY KEY (repo, name)
) WITHOUT ROWID;
CREATE TABLE commits (
    oid TEXT PRIMARY KEY, repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, parent TEXT,
    title TEXT NOT NULL, message TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE commit_files (
    in_commit TEXT NOT NULL REFERENCES commits ON DELETE CASCADE, path TEXT NOT NULL, oid TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT, xet_hash TEXT, PRIMARY KEY (in_commit, path)
) WITHOUT ROWID;
CREATE INDEX commit_contents ON commit_files (xet_hash);
CREATE INDEX commit_sha256s ON commit_files (sha256);

CREATE TABLE xorbs (
    hash TEXT PRIMARY KEY, stored_ends BLOB NOT NULL, unpacked_ends BLOB NOT NULL, chunk_hashes TEXT
);
CREATE TABLE files (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, segments BLOB NOT NULL);
CREATE TABLE chunks (
    user TEXT NOT NULL, hash TEXT NOT NULL, shard TEXT NOT NULL, PRIMARY KEY (user, hash)
) WITHOUT ROWID;
CREATE TABLE uploads (user TEXT NOT NULL, xet_hash TEXT NOT NULL, sha256 TEXT, PRIMARY KEY (user, xet_hash));
CREATE INDEX upload_sha256s ON uploads (sha256);
CREATE VIEW contents AS
    SELECT bucket AS repo, xet_hash, NULL AS sha256 FROM bucket_files
    UNION ALL SELECT repo, xet_hash, sha256 FROM commit_files JOIN commits ON commits.oid = in_commit;
COMMIT;
"""


class Store:
    """The data folder, for this process alone. Used from one thread only, so that a transaction needs no lock."""

    def __init__(self, directory: Path):
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(directory.iterdir()):
            directory.chmod(0o700)
        self._lock = FileLock(directory / "hub.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise CannotServe(
                f"Another local Hub serves the folder '{directory}'. Stop it, or give each Hub a folder of its own."
            ) from error
        for name in ("blobs", "xorbs", "shards", "incoming"):
            (directory / name).mkdir(exist_ok=True)
        for leftover in (directory / "incoming").iterdir():
            leftover.unlink()
        self.database = sqlite3.connect(directory / "hub.sqlite", isolation_level=None)
        self.database.row_factory = sqlite3.Row
        # A killed process loses nothing that was committed; only a power cut could.
        self.database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
        if self.row("SELECT 1 FROM sqlite_master") is None:
            self.database.executescript(SCHEMA)
        if self.row("PRAGMA user_version")[0] != _LAYOUT:
            raise CannotServe(
                f"The folder '{directory}' was made by another version of the local Hub. Give a new one."
            )

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self.database.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        return self.database.execute(sql, values).fetchone()

    def execute(self, sql: str, *values: object) -> None:
        self.database.execute(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. The block must not await, or another request would write into this transaction."""
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            yield

    @cached_property
    def secret(self) -> bytes:
        """What short-lived tokens are signed with: drawn once, then it stays with the folder."""
        self.execute("INSERT OR IGNORE INTO settings VALUES ('secret', ?)", secrets.token_hex(32))
        return self.row("SELECT value FROM settings WHERE name = 'secret'")["value"].encode()

    def incoming(self) -> Path:
        """A fresh name to write to; `keep` then moves the whole file to its place in one step."""
        return self.directory / "incoming" / secrets.token_hex(16)

    def blob_path(self, oid: str) -> Path:
        return self.directory / "blobs" / oid

    def xorb_path(self, xorb_hash: str) -> Path:
        return self.directory / "xorbs" / xorb_hash[:2] / xorb_hash

    def shard_path(self, shard_hash: str) -> Path:
        return self.directory / "shards" / shard_hash

    def keep(self, incoming: Path, place: Path) -> None:
        place.parent.mkdir(exist_ok=True)
        incoming.replace(place)

    def keep_bytes(self, content: bytes, place: Path) -> None:
        incoming = self.incoming()
        incoming.write_bytes(content)
        self.keep(incoming, place)


def store_of(request: Request) -> Store:
    return request.app.state.store


def now() -> str:
    return iso_time(datetime.now(timezone.utc))


def iso_time(time: datetime) -> str:
    """As the Hub writes times: in milliseconds."""
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
