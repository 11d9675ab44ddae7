"""The manifest: one small file that makes a checkpoint in a bucket a committed one.

It is written last and names every other file with its size and Xet hash. The format is described in
`docs/how_it_works.md`. Everything here is pure: no network, no disk.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from .errors import BrokenCheckpointError


MANIFEST_NAME = "checkpoint_manifest.json"
FORMAT = 1
# A manifest takes about 150 bytes a file. Above this it was not written by us, and reading it could fill the memory.
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_EMPTY_HASH = "0" * 64


class FileRecord(NamedTuple):
    """Size in bytes and Xet hash of one file."""

    size: int
    xet_hash: str

    @property
    def is_empty(self) -> bool:
        """Whether it stands for a file without a byte, which Xet does not store."""
        return self.size == 0 or self.xet_hash == _EMPTY_HASH


class PushId(NamedTuple):
    """Which push wrote a checkpoint: the process that saved it, and the how-manieth save of that process it was."""

    writer: str
    sequence: int


@dataclass(frozen=True)
class Manifest:
    """
    What a committed checkpoint consists of.

    Args:
        step (`int`):
            Global step of the checkpoint.
        files (`Mapping[str, FileRecord]`):
            Every file of the checkpoint by its path inside it, except the manifest itself.
        world_size (`int`, *optional*):
            Number of processes that trained. `None` if unknown.
        best_checkpoint (`str`, *optional*):
            Name of the best checkpoint of the run so far.
        push_id ([`PushId`], *optional*):
            Which push wrote this checkpoint. `None` for an adopted one.
        versions (`Mapping[str, str]`, *optional*):
            Versions of the libraries that wrote it.
    """

    step: int
    files: Mapping[str, FileRecord]
    world_size: int | None = None
    best_checkpoint: str | None = None
    push_id: PushId | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(record.size for record in self.files.values())

    def to_json(self) -> bytes:
        """The content of the manifest file."""
        content = {
            "format": FORMAT,
            **asdict(self),
            "push_id": self.push_id and self.push_id._asdict(),
            "files": {path: record._asdict() for path, record in sorted(self.files.items())},
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
        if found != FORMAT:
            raise BrokenCheckpointError(
                f"the manifest has format {found!r} and this version reads format {FORMAT}: upgrade transformers_buckets"
            )
        try:
            files = {path: FileRecord(int(r["size"]), str(r["xet_hash"])) for path, r in fields["files"].items()}
            push_id = fields["push_id"] and PushId(
                str(fields["push_id"]["writer"]), int(fields["push_id"]["sequence"])
            )
            manifest = cls(
                step=int(fields["step"]),
                files=files,
                world_size=fields["world_size"] and int(fields["world_size"]),
                best_checkpoint=fields["best_checkpoint"] and str(fields["best_checkpoint"]),
                push_id=push_id,
                versions=dict(fields["versions"]),
            )
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
            raise BrokenCheckpointError("the manifest lacks fields or has wrong ones") from None
        if not files:
            raise BrokenCheckpointError("the manifest names no files")
        check_paths(files)
        return manifest

    def differences(self, found: Mapping[str, FileRecord]) -> list[str]:
        """Why files that were found are not this checkpoint, a reason a file; empty if all match. Extra files do not count."""
        reasons = []
        for path, expected in self.files.items():
            if path not in found:
                reasons.append(f"{path} is missing")
            elif found[path].size != expected.size:
                reasons.append(f"{path} has {found[path].size} bytes instead of {expected.size}")
            elif found[path].xet_hash != expected.xet_hash:
                reasons.append(f"{path} has another content (wrong hash)")
        return reasons


def check_paths(paths: Mapping[str, object]) -> None:
    """
    Refuse file names from a bucket that are not plain files below one folder, on any operating system.

    Raises:
        [`BrokenCheckpointError`]: If a name would leave the folder or two names cannot exist side by side.
    """
    seen = {}
    for path in paths:
        parts = path.split("/")
        if (
            any(part in ("", ".", "..") for part in parts)
            or not path.isprintable()
            or any(character in path for character in '\\:*?"<>|')
            or len(path) > 1024
        ):
            raise BrokenCheckpointError(f"the file name {path!r} could write outside the checkpoint")
        if path.casefold() in seen:
            raise BrokenCheckpointError(f"the file names {seen[path.casefold()]!r} and {path!r} differ by case only")
        seen[path.casefold()] = path
    for path in seen:
        folder = path
        while "/" in folder:
            folder = folder.rsplit("/", 1)[0]
            if folder in seen:
                raise BrokenCheckpointError(f"{seen[folder]!r} is both a file and a folder")
