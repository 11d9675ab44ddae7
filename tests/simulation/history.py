"""One history: disks, a Hub, processes, and what is asked of them after each step."""

import hashlib
import logging
import os
import shutil
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import hf_xet
from huggingface_hub import HfApi

from transformers_buckets.bucket import door, download, patience, root, writer
from transformers_buckets.bucket.manifest import MANIFEST_NAME
from transformers_buckets.saving import handover, lane, outbox, retention, uploader

from . import disk, hub, tasks
from .checks import Checks
from .truth import Pending, Placed, Truth


LOGGER = logging.getLogger("transformers_buckets")
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
_HUB_METHODS = (
    *("whoami", "create_bucket", "bucket_info", "list_bucket_tree", "get_bucket_paths_info"),
    *("get_bucket_file_metadata", "download_bucket_files", "batch_bucket_files", "_batch_bucket_files"),
)


class History:
    """A world that can be interrupted anywhere. Everything in it is the package, but for the Hub, the threads and the locks."""

    def __init__(self, number_of_disks: int = 3):
        self.scheduler = tasks.Scheduler()
        self.hub = hub.MemoryHub(self.scheduler.operation, self.clock)
        self.truth = Truth()
        self._undo = ExitStack()
        self._uuids = 0
        folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY, prefix="history-")))
        self.disks = [folder / "disks" / f"disk-{number}" for number in range(number_of_disks)]
        (folder / "elsewhere").mkdir()
        for path in self.disks:
            path.mkdir(parents=True)
        self._install(folder)
        self.checks = Checks(self.hub, self.truth, self.scheduler)
        self.hub.before_change = self.checks.before_change

    def clock(self) -> int:
        """The time. It never stands still."""
        self.scheduler.now += 1
        return self.scheduler.now

    def wipe(self, disk: Path) -> None:
        """Empty a disk: what waited there is lost by the user's word."""
        shutil.rmtree(disk)
        disk.mkdir()
        self.truth.pending = [pending for pending in self.truth.pending if disk not in pending.label.parents]

    def replace(self, owner: object, name: str, value: object) -> None:
        """Let something be something else for as long as this history lasts."""
        self._undo.enter_context(mock.patch.object(owner, name, value))

    def close(self) -> None:
        """End all processes and forget everything."""
        for task in list(self.scheduler.tasks):
            self.scheduler.kill(task.process)
        self._undo.close()

    # ---- What is replaced ----

    def _install(self, folder: Path) -> None:
        scheduler = self.scheduler
        tasks.FileLock.locks = tasks.FileLocks(scheduler)
        disk.Disks.watch(folder / "disks", scheduler.operation)
        self._undo.callback(disk.Disks.stop)
        for method in _HUB_METHODS:
            self.replace(HfApi, method, _method(getattr(self.hub, method)))
        self.replace(hf_xet, "hash_files", hub.hash_files)
        self.replace(hf_xet, "XetSession", self._xet_session)
        self.replace(door, "get_token", lambda: None)
        self.replace(patience.Patience, "wait_for", lambda self, call, progress=None: call())
        self.replace(patience, "RETRY_DELAYS", (0, 0))
        self.replace(lane, "RETRY_DELAYS", (0, 0))
        self.replace(lane, "ThreadPoolExecutor", self._executor)
        self.replace(lane.Lane, "_wait_for", lambda lane, *arguments: self._wait_for(*arguments))
        self.replace(retention, "threading", SimpleNamespace(Lock=lambda: tasks.Lock(scheduler)))
        self.replace(outbox, "FileLock", tasks.FileLock)
        self.replace(download, "FileLock", tasks.FileLock)
        self.replace(outbox, "_SMALL", 256)  # weights are linked, all else is copied
        self.replace(uploader, "give_way", lambda: None)
        self.replace(uploader, "stop_giving_way", lambda: None)
        self.replace(uuid, "uuid4", self._uuid)
        self.replace(tempfile, "tempdir", str(folder / "elsewhere"))
        self.replace(Path, "write_bytes", disk.write_bytes)
        self.replace(shutil, "copyfile", disk.copyfile)
        self._listen()
        self._witness()

    def _executor(self, max_workers: int, thread_name_prefix: str) -> tasks.Executor:
        return tasks.Executor(self.scheduler, self.scheduler.current.process, thread_name_prefix)

    def _wait_for(self, condition, tick, timeout=None) -> None:
        if timeout is None:  # else it is a delay
            self.scheduler.wait_until(condition)

    def _uuid(self) -> uuid.UUID:
        self._uuids += 1
        return uuid.UUID(bytes=hashlib.md5(str(self._uuids).encode()).digest())

    def _xet_session(self):
        def download_stream(info, start: int):
            return iter([self.hub.continue_download(info.hash, start)])

        group = SimpleNamespace(download_stream=download_stream)
        return SimpleNamespace(new_download_stream_group=lambda **arguments: group)

    # ---- What is noted down ----

    def _listen(self) -> None:
        listener = logging.Handler()
        listener.emit = self._hear
        for name, value in (("handlers", [listener]), ("propagate", False), ("level", logging.INFO)):
            self.replace(LOGGER, name, value)

    def _hear(self, record: logging.LogRecord) -> None:
        task = self.scheduler.current
        if task is None or not task.process.is_dead:  # the dead tell nothing
            self.truth.lines.append(record.getMessage())
            self.truth.events.append((self.scheduler.now, task and task.process.name, record.getMessage()))

    def _witness(self) -> None:
        truth, current = self.truth, lambda: self.scheduler.current.process

        def write_manifest(folder, manifest) -> None:
            truth.placed[manifest.push_id] = Placed(current().began, self.clock(), self.clock(), current().address)
            write(folder, manifest)

        def last_place(self_, manifest):
            manifest = last(self_, manifest)
            truth.placed[manifest.push_id] = Placed(None, current().begin, None, current().address)
            current().push_ids.append(manifest.push_id)
            self.scheduler.current.pushing = manifest.push_id
            return manifest

        def seal(self_, entry, manifest=None):
            entry = sealed(self_, entry, manifest)
            if entry.name and (save := truth.save_at(entry.folder)):
                truth.pending.append(Pending(save, entry.place / "entry.json", len(truth.lines)))
            return entry

        def commit(self_, name, manifest, is_added):
            self.scheduler.current.pushing = manifest.push_id
            placed = truth.placed[manifest.push_id]
            placed.pushed(current(), self.scheduler.current.push_began, self.clock())
            try:
                return committed(self_, name, manifest, is_added)
            except BaseException:
                if self.hub.read(self_.address.bucket_id, f"{name}/{MANIFEST_NAME}") is None:
                    placed.failed()
                raise

        def push(self_, folder, name=None, manifest=None, *others, **more):
            self.scheduler.current.pushing = manifest and manifest.push_id
            self.scheduler.current.push_began = self.clock()
            try:
                return pushed(self_, folder, name, manifest, *others, **more)
            finally:
                self.scheduler.current.pushing = None

        write, last, sealed = handover.write_manifest, root.RunRoot.last_place, outbox.Outbox.seal
        pushed, committed = writer.CheckpointBucket.push, writer.CheckpointBucket.commit
        self.replace(handover, "write_manifest", write_manifest)
        self.replace(root.RunRoot, "last_place", last_place)
        self.replace(outbox.Outbox, "seal", seal)
        self.replace(writer.CheckpointBucket, "push", push)
        self.replace(writer.CheckpointBucket, "commit", commit)


def _method(of_hub):
    return lambda api, *args, **kwargs: of_hub(api, *args, **kwargs)
