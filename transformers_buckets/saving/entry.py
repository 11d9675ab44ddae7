"""One copy in the outbox: where it lies, what it is of, and whether it is still what was saved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..bucket.errors import BrokenCheckpointError
from ..bucket.files import scan, stamp
from ..bucket.manifest import Manifest


if TYPE_CHECKING:  # it imports this
    from .in_memory import InMemory


LABEL = "entry.json"


class ChangedOnDiskError(BrokenCheckpointError):
    """What was saved is not there any more."""


@dataclass(frozen=True)
class OutboxEntry:
    """
    One copy waiting for its push.

    Args:
        place (`Path`):
            Its folder in the outbox; goes when the entry goes.
        name (`str`):
            Path of the original below `output_dir`, such as `checkpoint-500` or `run-0/checkpoint-5`; `""` for the files
            at the root of the run.
        address (`str`):
            The run it is meant for.
        stamps (`Mapping[str, tuple[int, int]]`):
            Size in bytes and time of change in nanoseconds of every file when the copy was taken.
        manifest ([`Manifest`], *optional*):
            What the checkpoint consists of and where it stands in its run. `None` for the root.
        memory ([`InMemory`], *optional*):
            What of it is in memory, with a folder there for the rest. `None` if it is a copy on local disk.
        is_original (`bool`, *optional*, defaults to `False`):
            Whether it is no copy: the checkpoint was in memory, and nothing else of it was ever on local disk.
    """

    place: Path
    name: str
    address: str
    stamps: Mapping[str, tuple[int, int]] = field(repr=False)
    manifest: Manifest | None = field(default=None, repr=False)
    memory: "InMemory | None" = field(default=None, repr=False)
    is_original: bool = False

    @classmethod
    def read(cls, place: Path) -> "OutboxEntry":
        """
        The copy that lies at a place.

        Raises:
            `OSError`, `ValueError`, `TypeError`, `KeyError`, `AttributeError`, [`BrokenCheckpointError`]: If it is not complete.
        """
        label = json.loads((place / LABEL).read_text())
        return cls(
            place=place,
            name=str(label["name"]),
            address=label["address"],
            stamps={path: tuple(stamp) for path, stamp in label["stamps"].items()},
            manifest=label["manifest"] and Manifest.from_json(label["manifest"].encode()),
            is_original=bool(label.get("is_original")),
        )

    def write(self) -> None:
        """Write its label, which comes last: without all of it the copy is not complete and is dropped at the next start."""
        label = {
            "name": self.name,
            "address": self.address,
            "stamps": self.stamps,
            "manifest": self.manifest and self.manifest.to_json().decode(),
            "is_original": self.is_original,
        }
        (self.place / LABEL).write_bytes(json.dumps(label).encode())

    @property
    def folder(self) -> Path:
        """The folder with the files; its last part is that of the original."""
        return self.place / (self.name or "root")

    @property
    def size(self) -> int:
        """Bytes of all that it stands for: of a checkpoint, what is on other disks or in memory as well."""
        if self.manifest and not self.memory:
            return self.manifest.size
        return sum(size for size, _ in self.stamps.values()) + (self.memory.size if self.memory else 0)

    def check_unchanged(self) -> None:
        """
        Make sure that nobody wrote into the linked files since the copy was taken.

        Raises:
            [`ChangedOnDiskError`]: If somebody did. A hard link has one content under two names.
        """
        now = {path: stamp(file) for path, file in scan(self.folder).items()}
        changed = [path for path, stamp in self.stamps.items() if now.get(path) != tuple(stamp)]
        if changed:
            raise ChangedOnDiskError(
                f"{', '.join(changed[:3])} of {self.name or 'the root'} changed on disk after it was saved, "
                "so what was saved cannot be pushed any more"
            )
