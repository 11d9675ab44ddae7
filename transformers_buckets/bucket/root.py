"""The root of a run: the loadable model beside the checkpoints, and the file that says which run this is and whose."""

import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import BucketFile

from . import added
from .address import CHECKPOINT_NAME
from .contents import TRAINING_ARGS_NAME, is_weights, model_files, replaced_files
from .door import pass_door
from .errors import BucketError, RunTakenOverError
from .hub_client import explained, upload
from .manifest import Manifest, Place, PushId
from .reader import BucketReader
from .run_file import RUN_FILE_NAME, RunFile, Writer


logger = logging.getLogger(__name__)


class RunRoot:
    """
    The root of a run.

    Args:
        run ([`BucketReader`]):
            The run.
    """

    def __init__(self, run: BucketReader):
        self.run = run
        self.writer = Writer.here()
        self.file: RunFile | None = None  # not known before the first look
        self._claimed = False
        self._changing = threading.Lock()  # checkpoints are committed beside changes of the root
        self._shift = Place()  # what a command has added to the run, which what is committed later comes after
        # Of what a training saved last and has committed: where it was saved, and the shift then.
        self._last = (Place(), Place())
        # Hashes of the files below, as they lie on the Hub.
        self._hash: str | None = None
        self._hash_of_added: str | None = None

    @property
    def paths(self) -> list[str]:
        """Where the files lie in the bucket that say whose run it is, and what a command has added."""
        return [self.run.address.path(RUN_FILE_NAME), self.run.address.path(added.ADDED_NAME)]

    # ---- Whose run it is ----

    def claim(
        self,
        writer: Writer,
        run_id: str | None = None,
        project: Mapping[str, str] | None = None,
        only_own_project: bool = False,
        after: Place = Place(),
    ) -> RunFile:
        """
        Make a process the one that writes to the run. Whoever did before finds out with its next push, and stops.

        Args:
            writer ([`Writer`]):
                The process.
            run_id (`str`, *optional*):
                What to call the run if it has no id yet. `None` makes a new one.
            project (`Mapping[str, str]`, *optional*):
                What tells projects apart. `None` leaves what is there.
            only_own_project (`bool`, *optional*, defaults to `False`):
                Whether to leave the run alone if another project began it: nobody asked for this run by its name.
            after ([`Place`], *optional*):
                The highest place that a checkpoint is known to have.

        Returns:
            [`RunFile`]: What is true from now on.

        Raises:
            [`BucketError`]: If the run is that of another project, and nobody asked for it.
            [`BrokenCheckpointError`]: If the file of the run cannot be read.
            [`BucketAccessError`]: If the bucket cannot be read or written.
        """
        _, unmarked, found = self.run.look()
        if only_own_project and found is not None and project is not None:
            _check_project(found, project)
        known = found or replace(self._new(run_id), found=tuple(unmarked))
        self.file = known.claimed_by(writer, str(self.run.address), after)
        if project is not None:
            self.file = replace(self.file, project=project)
        self.writer, self._claimed = self.file.writer, True
        explained(self._write, str(self.run.address))
        return self.file

    def check_owner(self, found: Sequence[BucketFile] | None = None) -> None:
        """
        Make sure that nobody else has taken the run over, and see what a command has added to it. Without a claim there is
        nothing to lose.

        Args:
            found (`Sequence[BucketFile]`, *optional*):
                What the Hub lists at [`~RunRoot.paths`]. `None` asks it.

        Raises:
            [`RunTakenOverError`]: If somebody has; names host, process and time.
        """
        if not self._claimed:
            return
        if found is None:
            found = list(self.run.api.get_bucket_paths_info(self.run.address.bucket_id, self.paths))
        run_file, additions = ([file for file in found if file.path == path] for path in self.paths)
        if additions and additions[0].xet_hash != self._hash_of_added:
            content = self.run.read_small(additions[0])
            place = added.place_in(content)
            if place.claim > self.writer.claim:
                self.come_after(place)
            if isinstance(content, bytes):  # else it did not arrive as it lies there: the next push looks again
                self._hash_of_added = additions[0].xet_hash
        if run_file and run_file[0].xet_hash == self._hash:
            return
        theirs = self.run.run_file()
        if theirs is None:  # somebody deleted it
            self._write()
        elif self.writer.yields_to(theirs.writer):
            raise RunTakenOverError(
                f"{self.run.address} has been taken over by {theirs.writer}. This one (process {self.writer.process} on "
                f"{self.writer.host}) pushes nothing more, so that the two do not mix. If both shall go on, give one of them "
                "another bucket_id; if this one shall, end the other and start this one again."
            )
        elif theirs.writer.id == self.writer.id:  # a command put files at the root
            self._hash = run_file[0].xet_hash if run_file else None
            with self._changing:
                self.file = replace(self.file, root=tuple(sorted({*theirs.root, *self.file.root})))
        else:  # an older one has not noticed yet
            self._write()

    def come_after(self, place: Place) -> None:
        """Let what is committed from now on come after a place, whenever it was saved."""
        self._shift = max(self._shift, place)

    def shifted(self, place: Place) -> Place:
        """The place of a checkpoint of this training, which may have been saved before a command added to the run."""
        last, shift = self._last
        # What failed and is tried again stays behind what was saved later and is committed.
        claim, number = self._shift if place >= last else shift
        return place if place.claim >= claim else Place(claim, place.number + number)

    def last_place(self, manifest: Manifest) -> Manifest:
        """
        Put a checkpoint at the end of the run, after all that whoever writes to it has saved so far.

        Args:
            manifest ([`Manifest`]):
                What it consists of.

        Raises:
            [`BucketAccessError`]: If the bucket cannot be read.
        """
        latest, _ = self.run.find_latest()
        last = max(latest.manifest.place if latest else Place(), self._known().place)
        place = Place(max(last.claim, self._known().writer.claim) + 1, last.number + 1)
        return replace(
            manifest,
            run=self._known().run,
            place=place,
            push_id=PushId(self.writer.id, place.number),
            previous=latest.manifest.push_id if latest else None,
        )

    def committed(self, name: str, manifest: Manifest, saved: Place = Place()) -> None:
        """Take note that a checkpoint was committed, and where it was saved. The next change of the root carries it to the Hub."""
        self._known(manifest.run)
        with self._changing:
            if saved >= self._last[0]:
                self._last = (saved, self._shift)
            if manifest.place >= self.file.place:
                self.file = replace(self.file, latest=name, place=manifest.place)

    def announce(self, name: str, place: Place) -> None:
        """Say which place is about to be taken, so that whoever trains comes after it. Raises whatever `huggingface_hub` raises."""
        content = added.to_json(name, place)
        upload(self.run.api, self.run.address.bucket_id, add=[(content, self.run.address.path(added.ADDED_NAME))])

    # ---- What lies there ----

    def refresh(self, manifest: Manifest, beside: Mapping[str, Path] | None = None) -> None:
        """
        Make the root of the run the model of a committed checkpoint, by copies on the side of the Hub.

        Args:
            manifest ([`Manifest`]):
                The checkpoint.
            beside (`Mapping[str, Path]`, *optional*):
                More files for the root, by path: logs, model card.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        wanted = {*model_files(manifest.files), TRAINING_ARGS_NAME}
        snapshot = {path: r for path, r in manifest.files.items() if path in wanted and _has_place_at_root(path)}
        self._put(
            add={path: file for path, file in (beside or {}).items() if path not in snapshot}
            | {path: b"" for path, record in snapshot.items() if record.is_empty},
            copy={path: record.xet_hash for path, record in snapshot.items() if not record.is_empty},
        )

    def push(self, files: Mapping[str, Path]) -> None:
        """
        Upload files to the root of the run, and take away weights of the run there that they replace.

        Args:
            files (`Mapping[str, Path]`):
                Local files by their path at the root.

        Raises:
            Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
        """
        self._put(add=dict(files), copy={})

    def _put(self, add: dict[str, Path | bytes], copy: dict[str, str]) -> None:
        self._known()
        # What stays here must not be listed as something that is there: its name alone may hold a token.
        add = {name: source for source, name in pass_door([(add[name], name) for name in add], self.run.api.token)[0]}
        self.check_owner()  # who writes the file of the run without looking would take the run back
        with self._changing:
            ours, put = set(self.file.root), {*add, *copy}
            weights = {path for path in put if is_weights(path) and "/" not in path}
            # Where there are new weights, those of an earlier checkpoint go: a model is loaded from all that it finds. What
            # says what kind of model that was goes only if this is a whole checkpoint: else it may be what has not changed.
            stale = set(replaced_files(ours, put if copy else weights)) if weights else set()
            self.file = replace(self.file, root=tuple(sorted((ours | put) - stale)))
        self._write(add, copy, stale)

    # ---- How it is done ----

    def _known(self, run_id: str | None = None) -> RunFile:
        if self.file is None:
            self.file = self.run.run_file() or self._new(run_id)
        return self.file

    def _new(self, run_id: str | None = None) -> RunFile:
        return RunFile(run=run_id or uuid.uuid4().hex, address=str(self.run.address), writer=self.writer)

    def _write(self, add=None, copy=None, stale=()) -> None:
        path = self.run.address.path
        sent = upload(
            self.run.api,
            self.run.address.bucket_id,
            add=[(source, path(name)) for name, source in (add or {}).items()]
            + [(self.file.to_json(), self.run.address.path(RUN_FILE_NAME))],
            copy=[(xet_hash, path(name)) for name, xet_hash in (copy or {}).items()],
            delete=[path(name) for name in sorted(stale)],
        )
        self._hash = sent[self.run.address.path(RUN_FILE_NAME)].xet_hash


def _has_place_at_root(path: str) -> bool:
    """Whether a file of a checkpoint may lie at the root: not where other checkpoints or the file of the run are."""
    return path not in (RUN_FILE_NAME, added.ADDED_NAME) and not any(
        CHECKPOINT_NAME.match(part) for part in path.split("/")
    )


def _check_project(found: RunFile, project: Mapping[str, str]) -> None:
    """A name that nobody chose, such as that of `output_dir`, may be that of somebody else's run."""
    differs = [what for what, value in project.items() if found.project.get(what, value) != value]
    if differs:
        theirs, ours = (
            ", ".join(f"{what} {known[what][:40]}" for what in differs) for known in (found.project, project)
        )
        raise BucketError(
            f"{found.address} is the run of another project: it has {theirs}, this one has {ours}. It was found by a default "
            "name, that of output_dir or hub_model_id. Set bucket_id to a name for this run, or to that one to go on with it."
        )
    logger.info(f"Joining the run in {found.address}: last written by {found.writer}.")
