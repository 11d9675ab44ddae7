"""The hand-over: what happens on the training thread at a save, from the folder of a checkpoint to its copy in the outbox."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ..bucket.address import step_of
from ..bucket.contents import best_checkpoint
from ..bucket.errors import BucketError
from ..bucket.files import read_manifest, write_manifest
from ..bucket.inventory import all_files, take_inventory
from ..bucket.manifest import FileRecord, Manifest, Place, PushId
from .entry import OutboxEntry
from .outbox import Outbox


logger = logging.getLogger(__name__)


class HandOver:
    """
    Makes saved checkpoints whole on local disk, gives them their place in the run, and copies them into the outbox.

    Args:
        outbox ([`Outbox`]):
            Where copies go.
        versions (`Mapping[str, str]`, *optional*):
            Versions of libraries for the manifests.
    """

    def __init__(self, outbox: Outbox, versions: Mapping[str, str] | None = None):
        self.outbox = outbox
        self.versions = versions or {}
        self.run: str | None = None  # not known before somebody looked into the bucket
        self.place = Place()
        self.previous: PushId | None = None
        self._one_at_a_time = threading.Lock()  # with `async_save`, a save on SIGTERM does not wait for the writer's

    def go_on(self, run: str, place: Place, previous: PushId | None) -> None:
        """
        Say where the run stands; checkpoints that are saved from now on come after that.

        Args:
            run (`str`):
                Its id.
            place ([`Place`]):
                The highest place that is taken.
            previous ([`PushId`], *optional*):
                Which push made the checkpoint that training goes on from.
        """
        self.run, self.place, self.previous = run, max(place, self.place), previous

    def catch_up(self, shifted: Callable[[Place], Place]) -> None:
        """Come after what a command has added to the run meanwhile."""
        with self._one_at_a_time:
            self.place = shifted(self.place)

    def hold(self, folder: str | Path) -> OutboxEntry | None:
        """
        Copy a checkpoint that is complete but for what `on_save` adds.

        Args:
            folder (`str` or `Path`):
                The checkpoint, below `output_dir`.

        Returns:
            [`OutboxEntry`], *optional*: The copy; `None` if that cannot be. [`~HandOver.seal`] tries again, and says why.
        """
        try:
            files = all_files(folder)
            return self.outbox.fill(self.outbox.open(self.outbox.name_of(folder)), files)
        except (BucketError, OSError) as error:
            logger.debug(f"{folder} cannot be copied before it is sealed: {error}")
            return None

    def draft(self, folder: str | Path, world_size: int, best: str | None) -> Manifest:
        """
        Give a checkpoint the next place in the run, before it is known what it consists of.

        Args:
            folder (`str` or `Path`):
                The checkpoint, below `output_dir`.
            world_size (`int`):
                Number of processes that train.
            best (`str`, *optional*):
                Name of the best checkpoint so far.
        """
        return self._next(Manifest(step_of(str(folder)), {}, world_size=world_size, best_checkpoint=best))

    def seal(
        self,
        folder: str | Path,
        held: OutboxEntry | None,
        world_size: int,
        best: str | None,
        only_model: bool = False,
        elsewhere: Mapping[str, FileRecord] = MappingProxyType({}),
        draft: Manifest | None = None,
    ) -> OutboxEntry:
        """
        Fix what a checkpoint consists of, and make it whole on local disk and in the outbox: in this order, so that a
        training goes on from it also where it cannot be copied.

        Args:
            folder (`str` or `Path`):
                The checkpoint, below `output_dir`.
            held ([`OutboxEntry`], *optional*):
                Its copy, as it was held. Where the folder has changed since, so does the copy. `None` if there is none yet.
            world_size (`int`):
                Number of processes that train.
            best (`str`, *optional*):
                Name of the best checkpoint so far.
            only_model (`bool`, *optional*, defaults to `False`):
                Whether it was saved without the state of the training.
            elsewhere (`Mapping[str, FileRecord]`, *optional*):
                What there is of it on other disks.
            draft ([`Manifest`], *optional*):
                Its place in the run, if it was given one already.

        Raises:
            [`BrokenCheckpointError`], `OSError`: If it cannot be resumed from, or the disk refuses.
        """
        if held and not os.path.isdir(folder):  # somebody has deleted it already, but not the copy
            folder = held.folder
        files = take_inventory(folder, world_size, only_model, elsewhere)
        manifest = replace(draft or self.draft(folder, world_size, best), files=files)
        write_manifest(folder, manifest)
        here = {path: file for path, file in all_files(folder).items() if path in files}
        copy = held or self.outbox.open(self.outbox.name_of(folder))
        return self.outbox.seal(self.outbox.fill(copy, here), manifest)

    def pass_on(self, folder: str | Path) -> OutboxEntry:
        """
        Copy a whole checkpoint that was found on local disk, as the next one of the run.

        Args:
            folder (`str` or `Path`):
                The checkpoint, below `output_dir`.

        Raises:
            [`BrokenCheckpointError`], `OSError`: If that cannot be.
        """
        manifest = read_manifest(folder)
        if manifest is not None and manifest.run == self.run:  # ahead of the bucket, or it would not go on from here
            self.previous = manifest.push_id
        else:
            known = manifest or Manifest(step_of(str(folder)), {}, best_checkpoint=best_checkpoint(folder))
            files = take_inventory(folder, known.world_size, only_model=None)
            manifest = self._next(replace(known, files=files))
            write_manifest(folder, manifest)
        return self.outbox.add(all_files(folder), self.outbox.name_of(folder), manifest)

    def hold_root(self, files: Mapping[str, Path]) -> OutboxEntry:
        """
        Copy a model that was saved beside the checkpoints, and what else is new there.

        Args:
            files (`Mapping[str, Path]`):
                The files, by their path below `output_dir`.

        Raises:
            `OSError`: If the disk is full or cannot be written.
        """
        copy = self.outbox.fill(self.outbox.open(""), files)
        return self.outbox.seal(replace(copy, run=self.run, after=self.place))

    def _next(self, manifest: Manifest) -> Manifest:
        """The same as the next checkpoint of the run."""
        with self._one_at_a_time:
            self.place = Place(self.place.claim, self.place.number + 1)
            manifest = replace(
                manifest,
                run=self.run,
                place=self.place,
                push_id=PushId(self.outbox.writer.id, self.place.number),
                previous=self.previous,
                versions=self.versions,
            )
            self.previous = manifest.push_id
        return manifest
