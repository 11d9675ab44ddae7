"""One copy in the outbox: where it lies, what it is of, and whether it is still what was saved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..bucket.errors import BrokenCheckpointError
from ..bucket.files import scan, stamp
from ..bucket.manifest import Manifest, Place


if TYPE_CHECKING:  # it imports this
    from .in_memory import InMemory


LABEL = "entry.json"
# Nanoseconds. What a file system keeps of a time, once the memory has forgotten it.
_COARSE = (100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000)


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
        linked (`frozenset[str]`):
            Those files that others can write into, too: a hard link has one content under two names.
        manifest ([`Manifest`], *optional*):
            What the checkpoint consists of and where it stands in its run. `None` for the root.
        memory ([`InMemory`], *optional*):
            What of it is in memory, with a folder there for the rest. `None` if it is a copy on local disk.
        is_original (`bool`, *optional*, defaults to `False`):
            Whether it is no copy: the checkpoint was in memory, and nothing else of it was ever on local disk.
        run (`str`, *optional*):
            Of the root: the id of the run, as far as it was known.
        after ([`Place`], *optional*):
            Of the root: the last checkpoint that had been saved by then.
    """

    place: Path
    name: str
    address: str
    stamps: Mapping[str, tuple[int, int]] = field(repr=False)
    linked: frozenset[str] = field(default=frozenset(), repr=False)
    manifest: Manifest | None = field(default=None, repr=False)
    memory: "InMemory | None" = field(default=None, repr=False)
    is_original: bool = False
    run: str | None = None
    after: Place = Place()

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
            linked=frozenset(label.get("linked", label["stamps"])),
            manifest=label["manifest"] and Manifest.from_json(label["manifest"].encode()),
            is_original=bool(label.get("is_original")),
            run=label.get("run"),
            after=Place(*label.get("after", ())),
        )

    def write(self) -> None:
        """Write its label, which comes last: without all of it the copy is not complete and is dropped at the next start."""
        label = {
            "name": self.name,
            "address": self.address,
            "stamps": self.stamps,
            "linked": sorted(self.linked),
            "manifest": self.manifest and self.manifest.to_json().decode(),
            "is_original": self.is_original,
            "run": self.run,
            "after": self.after,
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
            [`ChangedOnDiskError`]: If somebody did.
        """
        now = {path: stamp(file) for path, file in scan(self.folder).items()}
        changed = [path for path in self.stamps if path not in now or not self._is_unchanged(path, *now[path])]
        if changed:
            raise ChangedOnDiskError(
                f"{', '.join(changed[:3])} of {self.name or 'the root'} changed on disk after it was saved, "
                "so what was saved cannot be pushed any more"
            )

    def _is_unchanged(self, path: str, size: int, changed_at: int) -> bool:
        """Not every file system leaves the time alone of a file that is closed. That of a copy, which is ours, is nobody's word."""
        size_then, then = self.stamps[path]
        is_as_then = changed_at == then or changed_at in (then - then % coarse for coarse in _COARSE)
        return size == size_then and (path not in self.linked or is_as_then)
