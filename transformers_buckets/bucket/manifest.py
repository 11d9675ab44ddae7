"""The manifest: one small file that says what a checkpoint consists of and where it stands in its run.

It is written last, on local disk and in the bucket, and names every other file: what has one is whole if that still holds.
The format is described in `docs/how_it_works.md`. Everything here is pure: no network, no disk.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import BrokenCheckpointError
from .names import check_paths


MANIFEST_NAME = "checkpoint_manifest.json"
FORMAT = 2
_READABLE = (1, 2)  # format 1 has no lineage
# A manifest takes about 150 bytes a file. Above this it was not written by us, and reading it could fill the memory.
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_EMPTY_HASH = "0" * 64


class FileRecord(NamedTuple):
    """Size in bytes and Xet hash of one file. Either is `None` where nobody knows it yet."""

    size: int | None
    xet_hash: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it stands for a file without a byte, which Xet does not store."""
        return self.size == 0 or self.xet_hash == _EMPTY_HASH


class PushId(NamedTuple):
    """Which push wrote a checkpoint: the process that saved it, and the how-manieth save of that process it was."""

    writer: str
    sequence: int


class Place(NamedTuple):
    """
    Where a checkpoint stands in its run: the later one is the greater one, whatever clocks say.

    Args:
        claim (`int`, *optional*, defaults to 0):
            The how-manieth process it was that wrote to the run. 0 in format 1.
        number (`int`, *optional*, defaults to 0):
            The how-manieth checkpoint of the run.
    """

    claim: int = 0
    number: int = 0


@dataclass(frozen=True)
class Manifest:
    """
    What a checkpoint consists of, and where it stands in its run.

    Args:
        step (`int`):
            Global step of the checkpoint.
        files (`Mapping[str, FileRecord]`):
            Every file of the checkpoint by its path inside it, except the manifest itself.
        world_size (`int`, *optional*):
            Number of processes that trained. `None` if unknown.
        best_checkpoint (`str`, *optional*):
            Name of the best checkpoint of the run so far.
        run (`str`, *optional*):
            Id of the run it belongs to. `None` in format 1.
        place ([`Place`], *optional*):
            Its place in the run. The latest checkpoint of a run is the one with the highest place.
        push_id ([`PushId`], *optional*):
            Which push this was. `None` if format 1 left it out.
        previous ([`PushId`], *optional*):
            Which push made the checkpoint that it went on from. `None` for the first of a run.
        versions (`Mapping[str, str]`, *optional*):
            Versions of the libraries that wrote it.
    """

    step: int
    files: Mapping[str, FileRecord]
    world_size: int | None = None
    best_checkpoint: str | None = None
    run: str | None = None
    place: Place = Place()
    push_id: PushId | None = None
    previous: PushId | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(record.size for record in self.files.values())

    def comes_after(self, other: "Manifest") -> bool:
        """Whether it was saved later in the run. What one process saved keeps its order, also where only a part got other places."""
        if self.push_id and other.push_id and self.push_id.writer == other.push_id.writer:
            return self.push_id.sequence > other.push_id.sequence
        return self.place > other.place

    def to_json(self) -> bytes:
        """The content of the manifest file."""
        content = {
            "format": FORMAT,
            **vars(self),  # `asdict` copies thousands of files one by one, and a save waits for this
            "place": self.place._asdict(),
            "push_id": self.push_id and self.push_id._asdict(),
            "previous": self.previous and self.previous._asdict(),
            "files": {path: record._asdict() for path, record in sorted(self.files.items())},
            "versions": dict(self.versions),
        }
        return json.dumps(content, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """
        Read a manifest. Its content is hostile input: anything odd is refused.

        Raises:
            [`BrokenCheckpointError`]: If it is not a manifest, was written in a later format, or names a path that
                would not stay inside the checkpoint.
        """
        try:
            fields = json.loads(content)
            found = fields.pop("format")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise BrokenCheckpointError("the manifest is not readable") from None
        if found not in _READABLE:
            raise BrokenCheckpointError(
                f"the manifest has format {found!r} and this version reads formats up to {FORMAT}: upgrade transformers_buckets"
            )
        try:
            files = {path: _record(record) for path, record in fields["files"].items()}
            manifest = cls(
                step=int(fields["step"]),
                files=files,
                world_size=fields["world_size"] and int(fields["world_size"]),
                best_checkpoint=fields["best_checkpoint"] and str(fields["best_checkpoint"]),
                run=fields.get("run") and str(fields["run"]),
                place=_place(fields.get("place")),
                push_id=_push_id(fields["push_id"]),
                previous=_push_id(fields.get("previous")),
                versions=dict(fields["versions"]),
            )
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
            raise BrokenCheckpointError("the manifest lacks fields or has wrong ones") from None
        if not files:
            raise BrokenCheckpointError("the manifest names no files")
        check_paths(files)
        return manifest

    def differences(self, found: Mapping[str, FileRecord]) -> list[str]:
        """
        Why files that were found are not this checkpoint, a reason a file; empty if all match. Extra files do not count.

        Args:
            found (`Mapping[str, FileRecord]`):
                The files by their path. Hashes count where both sides have one.
        """
        reasons = []
        for path, expected in self.files.items():
            if path not in found:
                reasons.append(f"{path} is missing")
            elif expected.size not in (None, found[path].size):
                reasons.append(f"{path} has {found[path].size} bytes instead of {expected.size}")
            elif None not in (expected.xet_hash, found[path].xet_hash) and found[path].xet_hash != expected.xet_hash:
                reasons.append(f"{path} has another content (wrong hash)")
        return reasons


def _record(fields: Mapping) -> FileRecord:
    xet_hash = fields["xet_hash"]
    return FileRecord(int(fields["size"]), None if xet_hash is None else str(xet_hash))


def _place(fields: Mapping | None) -> Place:
    return Place(int(fields["claim"]), int(fields["number"])) if fields else Place()


def _push_id(fields: Mapping | None) -> PushId | None:
    return fields and PushId(str(fields["writer"]), int(fields["sequence"]))
