"""Everything the local Hub remembers: one SQLite file for names and metadata, plain files for xorbs and shards."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path


SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, user TEXT NOT NULL, rights TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS quotas (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS buckets (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, private INTEGER NOT NULL,
    created_at TEXT NOT NULL, UNIQUE (namespace, name)
);
CREATE TABLE IF NOT EXISTS bucket_files (
    bucket INTEGER NOT NULL REFERENCES buckets ON DELETE CASCADE, path TEXT NOT NULL, xet_hash TEXT NOT NULL,
    size INTEGER NOT NULL, mtime TEXT NOT NULL, uploaded_at TEXT NOT NULL, content_type TEXT,
    PRIMARY KEY (bucket, path)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS repos (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    private INTEGER NOT NULL, created_at TEXT NOT NULL, UNIQUE (type, namespace, name)
);
CREATE TABLE IF NOT EXISTS branches (
    repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, name TEXT NOT NULL, head TEXT NOT NULL,
    PRIMARY KEY (repo, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    oid TEXT PRIMARY KEY, repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, parent TEXT,
    title TEXT NOT NULL, message TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL, tree TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS blobs (oid TEXT PRIMARY KEY, content BLOB NOT NULL);

CREATE TABLE IF NOT EXISTS xorbs (
    hash TEXT PRIMARY KEY, size INTEGER NOT NULL, stored_ends BLOB NOT NULL, unpacked_ends BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS files (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, segments BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sha256s (sha256 TEXT PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (hash TEXT PRIMARY KEY, shard TEXT NOT NULL) WITHOUT ROWID;
"""


class Store:
    """The data folder. Used from the event loop's thread only, so that a transaction needs no lock.

    Args:
        directory (`Path`):
            Where the data lives; created if missing.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        for name in ("xorbs", "shards", "incoming"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for leftover in (directory / "incoming").iterdir():
            leftover.unlink()
        self.database = sqlite3.connect(directory / "hub.sqlite", isolation_level=None)
        self.database.row_factory = sqlite3.Row
        # A killed process loses nothing that was committed; only a power cut could.
        self.database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
        self.database.executescript(SCHEMA)
        newest = self.row("SELECT max(uploaded_at) AS time FROM bucket_files")["time"]
        self._last_time = parse_time(newest) if newest else datetime.min.replace(tzinfo=timezone.utc)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self.database.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        return self.database.execute(sql, values).fetchone()

    def execute(self, sql: str, *values: object) -> None:
        self.database.execute(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. The block must not await, or another request would write into this transaction."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def now(self) -> str:
        """The server's time in microseconds, later than any it gave before, whatever the machine's clock does."""
        self._last_time = max(datetime.now(timezone.utc), self._last_time + timedelta(microseconds=1))
        return iso_time(self._last_time)

    def setting(self, name: str) -> str:
        """A secret or identifier that is drawn once and then stays with the folder."""
        found = self.row("SELECT value FROM settings WHERE name = ?", name)
        if found is None:
            self.execute("INSERT INTO settings VALUES (?, ?)", name, secrets.token_hex(17))
            return self.setting(name)
        return found["value"]

    def incoming(self) -> Path:
        """A fresh name to write to; `keep` then moves the whole file to its place in one step."""
        return self.directory / "incoming" / secrets.token_hex(16)

    def xorb_path(self, xorb_hash: str) -> Path:
        return self.directory / "xorbs" / xorb_hash[:2] / xorb_hash

    def shard_path(self, shard_hash: str) -> Path:
        return self.directory / "shards" / shard_hash

    def keep(self, incoming: Path, place: Path) -> None:
        place.parent.mkdir(exist_ok=True)
        incoming.replace(place)


_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def iso_time(time: datetime) -> str:
    return time.astimezone(timezone.utc).strftime(_TIME_FORMAT)


def parse_time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)
