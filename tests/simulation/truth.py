"""What really happened: who saved what, and what came after what. The package's own words are not taken for it."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transformers_buckets.bucket.manifest import PushId

from .tasks import Process


@dataclass
class Save:
    """One checkpoint, as a training wrote it. Files of different saves have the same sizes, so sizes prove nothing."""

    number: int
    step: int
    files: Mapping[str, bytes]
    added: str | None = None  # by a callback, in `on_save`
    is_through: bool = False  # all of `on_save`

    @property
    def name(self) -> str:
        return f"checkpoint-{self.step}"


@dataclass
class Began:
    """When a training began: from its first look on, and up to the moment when the run was its own."""

    look: int
    claimed: int | None = None


@dataclass
class Placed:
    """When a checkpoint got its place in the run, and who gave it."""

    training: Began | None  # `None`: a command
    begin: int
    end: int | None
    bucket: str = ""
    by: Began | None = None  # the training that committed it
    committing: int | None = None
    committed: int | None = None

    def pushed(self, process: "Witness", begin: int, end: int) -> None:
        """It was committed."""
        if self.training is not None:
            self.by, self.committing, self.committed = process.began, begin, end

    def failed(self) -> None:
        """It was not."""
        self.by = self.committing = self.committed = None

    def beside(self, command: "Placed") -> tuple[int, int | None]:
        """
        Where it stands among what commands add: where it was committed, if a training did so that had saved it or was under
        way before the command; else where it was saved.
        """
        if self.by is not None and (self.by is self.training or self.by.look < command.begin):
            return self.committing, self.committed
        # A bucket that was begun anew from an old copy knows nothing of what was saved for another one.
        return self.begin, self.end if self.bucket == command.bucket else None


@dataclass
class Pending:
    """A copy in an outbox: it may go once its checkpoint is committed, or once somebody has been told."""

    save: Save
    label: Path
    lines: int  # of the log when it was sealed


@dataclass
class Truth:
    """All of it, for one history."""

    saves: list[Save] = field(default_factory=list)
    trainings: list[Began] = field(default_factory=list)
    placed: dict[PushId, Placed] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)
    committed: set[int] = field(default_factory=set)  # numbers of saves that ever were
    lines: list[str] = field(default_factory=list)  # what users were told
    events: list[tuple] = field(default_factory=list)  # what happened, to be read by whoever looks for a mistake

    def save(self, step: int, best: int | None = None, ranks: int = 1) -> Save:
        """What the next save consists of."""
        number = len(self.saves)
        save = Save(number, step, contents(number, step, best, ranks))
        self.saves.append(save)
        return save

    def is_older(self, one: PushId, other: PushId) -> bool:
        """Whether a checkpoint surely stands before another one. What happened at the same time has no order."""
        if one == other or one not in self.placed or other not in self.placed:
            return False
        this, that = self.placed[one], self.placed[other]
        if this.training is not None and this.training is that.training:
            return this.begin < that.begin
        if this.training is not None and that.training is not None:
            return _is_before(this.training, that.training)
        _, end = this.beside(that)
        begin, _ = that.beside(this)
        # Where something stands, what the same training saved later does not go back, and what it saved earlier gets no further.
        end = max(
            filter(None, [end, *(other.committed for other in self._of(this.training) if other.begin < this.begin)]),
            default=None,
        )
        commits = [
            other.committing for other in self._of(that.training) if other.begin >= that.begin and other.committing
        ]
        begin = min([begin, *commits])
        if end is None or end >= begin:
            return False
        # A command comes before what a training commits that notices it.
        return that.training is None or begin in commits or that.training.look > end

    def _of(self, training: Began | None) -> list[Placed]:
        """What a training saved; nothing of commands, which know nothing of each other."""
        return [placed for placed in self.placed.values() if training is not None and placed.training is training]

    def what_is_wrong(self, files: Mapping[str, bytes]) -> str | None:
        """Why files are not a checkpoint as somebody saved it; `None` if they are."""
        try:
            save = self.saves[json.loads(files["trainer_state.json"])["save"]]
        except (KeyError, ValueError):
            return "it has no trainer state"
        for path, content in save.files.items():
            if files.get(path) != content:
                return f"{path} is not as in save {save.number}"
        if save.is_through and save.added and save.added not in files:
            return f"{save.added} is missing"
        for path in files.keys() - save.files.keys():
            if path not in {other.added for other in self.saves}:
                return f"{path} is nobody's"
            other = next(other for other in self.saves if other.added == path)
            if (
                not (added(other.number) if other.is_through else added(other.number)[: len(files[path])])
                == files[path]
            ):
                return f"{path} is torn"
        return None

    def save_in(self, state: bytes | None) -> Save | None:
        """Which save a trainer state is of."""
        try:
            return self.saves[json.loads(state)["save"]]
        except (TypeError, ValueError, KeyError):
            return None

    def save_at(self, folder: Path) -> Save | None:
        """Which save a folder is of that has a part of it; `None` if it has nothing."""
        found = [re.search(rb"of save (\d{6})", content) for content in files_of(folder).values()]
        return next((self.saves[int(match[1])] for match in found if match), None)

    def lost(self) -> list[Save]:
        """What waited for its push, is not there any more, was never committed, and about which nobody was told."""
        waiting = []
        lost = []
        for pending in self.pending:
            aside = pending.label.parents[2] / "set_aside" / "not_pushed" / pending.save.name
            if pending.label.exists() or aside.exists():
                waiting.append(pending)
            elif pending.save.number not in self.committed and not self._told(pending):
                lost.append(pending.save)
        self.pending = waiting
        return lost

    def _told(self, pending: Pending) -> bool:
        name = pending.save.name
        return any(
            f"Skipped {name}:" in line
            or f"/{name}: the run " in line
            or f"/{name} is passed over: it lacks what was on another disk" in line
            or line.startswith(f"{name} cannot be pushed")
            for line in self.lines[pending.lines :]
        )


def contents(number: int, step: int, best: int | None, ranks: int) -> dict[str, bytes]:
    """The files of a checkpoint in the order in which transformers writes them."""
    data = f"weights of save {number:06d} ".encode() * 16
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    state = {
        "global_step": step,
        "best_global_step": best,
        "best_model_checkpoint": best and f"/elsewhere/checkpoint-{best}",
        "save": number,
    }
    return {
        "config.json": json.dumps({"save": f"{number:06d}"}).encode(),
        "model.safetensors": struct.pack("<Q", len(header)) + header + data,
        "optimizer.pt": _archive(f"optimizer of save {number:06d} ".encode() * 12),
        **{path: _archive(f"{path} of save {number:06d}".encode()) for path in random_states(ranks)},
        "trainer_state.json": json.dumps(state).ljust(160).encode(),
    }


def random_states(ranks: int) -> list[str]:
    """The files that each rank writes for itself."""
    return [f"rng_state_{rank}.pth" for rank in range(ranks)] if ranks > 1 else ["rng_state.pth"]


def added(number: int) -> bytes:
    """What a callback adds to a checkpoint."""
    return json.dumps({"callback": f"{number:06d}"}).encode()


def files_of(folder: Path) -> dict[str, bytes]:
    """What a folder holds, all of it."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _archive(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(zipfile.ZipInfo("archive/data.pkl"), content)
    return archive.getvalue()


def _is_before(one: Began, other: Began) -> bool:
    return one.claimed is not None and one.claimed < other.look


class Witness(Process):
    """A process whose pushes and deletions are known, so that one can say who destroyed what."""

    address = ""

    def __init__(self, name: str):
        super().__init__(name)
        self.began: Began | None = None
        self.limit: int | None = None
