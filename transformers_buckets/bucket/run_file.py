"""The file of a run: one small file at its root that says which run this is, who writes to it, and what is ours there."""

import json
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone

from .errors import BrokenCheckpointError
from .manifest import Place


RUN_FILE_NAME = "bucket_run.json"
FORMAT = 1
MAX_RUN_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Writer:
    """
    A process that pushes to a run.

    Args:
        id (`str`):
            Random name.
        claim (`int`, *optional*, defaults to 0):
            How many have claimed the run up to and including this one. The last one to claim it writes to it.
        host (`str`, *optional*):
            Name of its machine.
        process (`int`, *optional*):
            Its process id there.
        since (`str`, *optional*):
            When it claimed the run, ISO 8601 in UTC, by its own clock: for people to read, never compared.
    """

    id: str
    claim: int = 0
    host: str = ""
    process: int = 0
    since: str = ""

    @classmethod
    def here(cls, id: str | None = None) -> "Writer":
        """This process."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(id or uuid.uuid4().hex, 0, socket.gethostname(), os.getpid(), now)

    def yields_to(self, other: "Writer") -> bool:
        """Whether another writer has taken the run over from this one. Both come to the same verdict."""
        return other.id != self.id and (other.claim, other.id) > (self.claim, self.id)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"


@dataclass(frozen=True)
class RunFile:
    """
    What the file of a run says.

    Args:
        run (`str`):
            Id of the run, random. Copies of the run have the same.
        address (`str`):
            Where it was written to. In a copy of the run, the times of its files say nothing.
        writer ([`Writer`]):
            Who writes to the run.
        latest (`str`, *optional*):
            Name of the checkpoint with the highest place when this was written.
        place ([`Place`], *optional*):
            That place.
        root (`tuple[str]`, *optional*):
            What the run itself put at its root, by path. Nothing else there is ever deleted.
        found (`tuple[str]`, *optional*):
            Checkpoints without a manifest that were there before the run began. Others are what its own pushes left.
        project (`Mapping[str, str]`, *optional*):
            What tells projects apart: `script` and a digest of the names and shapes of the `parameters`.
    """

    run: str
    address: str
    writer: Writer
    latest: str | None = None
    place: Place = Place()
    root: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    project: Mapping[str, str] = field(default_factory=dict)

    def claimed_by(self, writer: Writer, address: str, after: Place = Place()) -> "RunFile":
        """This run, taken over by a writer. Its claim is above that of all that commands have added."""
        claim = max(self.writer.claim, self.place.claim, after.claim) + 1
        latest = self.latest if self.address == address else None  # a copy has other times
        return replace(self, writer=replace(writer, claim=claim), address=address, latest=latest)

    def to_json(self) -> bytes:
        """The content of the file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> "RunFile":
        """
        Read the file of a run. Its content is hostile input.

        Raises:
            [`BrokenCheckpointError`]: If it is not one, or was written in a later format.
        """
        try:
            fields = json.loads(content)
            if fields.pop("format") != FORMAT:
                raise BrokenCheckpointError(
                    f"{RUN_FILE_NAME} was written by a later version of transformers_buckets: upgrade it"
                )
            writer = {name: type(value)(fields["writer"][name]) for name, value in vars(Writer("")).items()}
            return cls(
                run=str(fields["run"]),
                address=str(fields["address"]),
                writer=Writer(**writer),
                latest=fields["latest"] and str(fields["latest"]),
                place=Place(int(fields["place"][0]), int(fields["place"][1])),
                root=tuple(str(path) for path in fields["root"]),
                found=tuple(str(name) for name in fields["found"]),
                project={str(key): str(value) for key, value in fields["project"].items()},
            )
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError):
            raise BrokenCheckpointError(
                f"{RUN_FILE_NAME} is not readable. If nobody needs it, delete it: checkpoints do not depend on it"
            ) from None
