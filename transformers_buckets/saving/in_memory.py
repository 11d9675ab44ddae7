"""What of a checkpoint is in memory: it goes from there to the bucket, or to local disk if that cannot be."""

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..bucket.door import LOOKED_AT
from ..bucket.errors import BucketError
from ..bucket.files import list_files, measure, stamp
from ..bucket.hub_client import Transfer, reason, register
from ..bucket.manifest import FileRecord
from ..bucket.upload_streams import StreamedUpload
from ..bucket.writer import CheckpointBucket
from .entry import OutboxEntry
from .lane import Job, Lane
from .outbox import Outbox


if TYPE_CHECKING:  # it imports torch
    from .snapshot import Payload


logger = logging.getLogger(__name__)


class LostError(BucketError):
    """What was saved is nowhere any more."""


class InMemory:
    """
    The files of a checkpoint that are on no disk, until it is committed, skipped or put on local disk.

    Args:
        payloads (`Mapping[str, Payload]`):
            The files by their path in the checkpoint.
        give_back (`Callable`):
            Called once, when their memory is not needed any more.
    """

    def __init__(self, payloads: "Mapping[str, Payload]", give_back: Callable[[], None]):
        self._payloads = payloads
        self._give_back: Callable[[], None] | None = give_back
        self._on_disk: OutboxEntry | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def files(self) -> dict[str, FileRecord]:
        """What it adds to the inventory. How large a file is going to be is not known before it is written."""
        return {path: FileRecord(None) for path in self._payloads}

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return sum(payload.size for payload in self._payloads.values())

    def send(self, run: CheckpointBucket, name: str, folder: Path, transfer: Transfer):
        """
        What [`CheckpointBucket.push`] calls for files that are not in the folder: they are streamed.

        Small ones are put into the folder, where they are looked at for a token as any other.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            name (`str`):
                `checkpoint-<step>`.
            folder (`Path`):
                The other files of the checkpoint, a folder in memory.
            transfer ([`Transfer`]):
                Counts the bytes, live.
        """
        large = {path: payload for path, payload in self._payloads.items() if payload.size >= LOOKED_AT}
        self._write({path: payload for path, payload in self._payloads.items() if path not in large}, folder)

        def stream() -> dict[str, FileRecord]:
            api, bucket_id = run.api, run.address.bucket_id
            upload = StreamedUpload(api, bucket_id, transfer)

            def send() -> None:
                with upload:
                    for path, payload in large.items():
                        with upload.open(path) as file:
                            payload.stream(payload.content, file)

            if large:
                transfer.reset_for_next_commit()
                api.patience.wait_for(send, upload.progress)
                upload.progress()
                register(api, bucket_id, {run.address.path(name, path): file for path, file in upload.files.items()})
            return upload.files

        return lambda: stream

    def to_disk(self, entry: OutboxEntry, outbox: Outbox) -> OutboxEntry:
        """
        Make it an ordinary copy in the outbox, which outlives this process. Its memory is given back, whatever happens.
        Does nothing if it is not needed any more.

        Args:
            entry ([`OutboxEntry`]):
                The checkpoint.
            outbox ([`Outbox`]):
                Where to.

        Raises:
            [`LostError`]: If local disk does not take it either.
        """
        with self._one_at_a_time:
            if self._give_back:
                copy = None
                try:
                    copy = outbox.open(entry.name)
                    here = {
                        path: file for path, file in list_files(entry.folder).items() if path not in self._payloads
                    }
                    copy = outbox.fill(copy, here)
                    self._write(self._payloads, copy.folder)
                    files = list_files(copy.folder)
                    stamps = {path: stamp(file) for path, file in files.items()}
                    copy = replace(copy, stamps=stamps, is_original=True)
                    self._on_disk = outbox.seal(copy, replace(entry.manifest, files=measure(files)))
                except Exception as error:
                    if copy:
                        shutil.rmtree(copy.place, ignore_errors=True)
                    raise LostError(f"It could not be put on local disk either: {reason(error)}") from None
                finally:
                    self._forget()
            return self._on_disk or entry

    def release(self) -> None:
        """Give its memory back."""
        with self._one_at_a_time:
            self._forget()

    def _write(self, payloads: "Mapping[str, Payload]", folder: Path) -> None:
        for path, payload in payloads.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            payload.write(payload.content, str(folder / path))

    def _forget(self) -> None:
        if self._give_back:
            self._payloads = {}
            give_back, self._give_back = self._give_back, None
            give_back()


def rescue(job: Job, entry: OutboxEntry, outbox: Outbox, push: Callable[[OutboxEntry], None]) -> OutboxEntry:
    """
    Let the job for a checkpoint in memory be one for a copy in the outbox, from now on.

    Args:
        job ([`Job`]):
            The job.
        entry ([`OutboxEntry`]):
            The checkpoint.
        outbox ([`Outbox`]):
            Where copies go.
        push (`Callable`):
            Pushes a copy.

    Returns:
        [`OutboxEntry`]: The copy.

    Raises:
        [`LostError`]: If local disk does not take it.
    """
    job.folder = None
    try:
        copy = entry.memory.to_disk(entry, outbox)
    finally:
        outbox.remove(entry)
    if copy is not entry:
        job.work, job.forget = partial(push, copy), partial(outbox.remove, copy)
        job.folder, job.rescue = str(copy.folder), None
        logger.warning(f"{job.name} is on local disk now, in {job.folder}: it could not be pushed from memory.")
    return copy


def rescue_all(lane: Lane, outbox: Outbox, report: Callable[[Job], None]) -> None:
    """
    Put on local disk what is left on a lane and in memory only, and give the memory back.

    Args:
        lane ([`Lane`]):
            The lane.
        outbox ([`Outbox`]):
            Where copies go.
        report (`Callable`):
            Told of each job whose checkpoint is lost, because local disk does not take it.
    """
    for job in [job for job in lane.left if job.rescue]:
        try:
            job.rescue()
        except LostError as error:
            job.error = error
            lane.lose(job)
            report(job)
    outbox.memory.release()
