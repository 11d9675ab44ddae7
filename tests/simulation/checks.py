"""What must be true in every history, after each step and at each change in a bucket."""

from pathlib import Path

from transformers_buckets.bucket.address import step_of
from transformers_buckets.bucket.checkpoint import RemoteCheckpoint
from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.inventory import whole
from transformers_buckets.bucket.manifest import MANIFEST_NAME, FileRecord, Manifest
from transformers_buckets.bucket.writer import CheckpointBucket

from .hub import MemoryHub
from .tasks import Scheduler
from .truth import Truth, files_of


class Checks:
    """
    Compares what the package says and does with the truth.

    Attributes:
        foreign (`dict`):
            What is not the package's to touch: content by bucket and path, or by a path on local disk.
    """

    def __init__(self, hub: MemoryHub, truth: Truth, scheduler: Scheduler):
        self.hub, self.truth, self.scheduler = hub, truth, scheduler
        self.foreign: dict[tuple[str, str] | Path, bytes] = {}
        self.wrong: list[str] = []  # found in the middle of something
        self._changes = -1

    # ---- After each step ----

    def everything(self, buckets: list[str]) -> None:
        """Check all there is to be seen from outside."""
        assert not self.wrong, self.wrong
        self.no_surprises()
        if self.hub.changes != self._changes:
            self._changes = self.hub.changes
            for bucket_id in buckets:
                self.committed_is_whole(bucket_id)
            self.foreign_is_untouched()
        lost = self.truth.lost()
        assert not lost, f"lost without a line: {[(save.number, save.name) for save in lost]}"

    def no_surprises(self) -> None:
        """No lane met an error that nobody thought of."""
        for task in self.scheduler.tasks:
            error = task.error
            if error is not None and not task.process.is_dead:
                raise AssertionError(f"{task.process.name}, {task.name}: {error!r}") from error

    def committed_is_whole(self, bucket_id: str) -> None:
        """What readers call committed is what somebody saved, and the latest of it is what they call the latest."""
        run = CheckpointBucket(bucket_id)
        committed = [checkpoint for checkpoint in run.checkpoints() if checkpoint.state == "committed"]
        for checkpoint in committed:
            wrong = self.truth.what_is_wrong(self._files(bucket_id, checkpoint))
            assert not wrong, f"{bucket_id}/{checkpoint.name} is called committed, but {wrong}"
            save = self.truth.save_in(self.hub.read(bucket_id, f"{checkpoint.name}/trainer_state.json"))
            assert save.step == checkpoint.step
            self.truth.committed.add(save.number)
        latest = run.find_latest()[0]
        assert bool(latest) == bool(committed)
        for checkpoint in committed:
            assert not self.truth.is_older(latest.manifest.push_id, checkpoint.manifest.push_id), (
                f"{latest.name} {latest.manifest.place} is called the latest, but {checkpoint.name} "
                f"{checkpoint.manifest.place} came after it"
            )

    def foreign_is_untouched(self) -> None:
        """What others put into buckets and on disks is there as it was."""
        for where, content in self.foreign.items():
            there = self.hub.read(*where) if isinstance(where, tuple) else where.exists() and where.read_bytes()
            assert there == content, f"{where} is not there any more as it was"

    # ---- At each change in a bucket ----

    def before_change(self, bucket_id: str, path: str, xet_hash: str | None) -> None:
        """A checkpoint that is committed is only destroyed by a newer one of its name, or where it is one too many."""
        process = self.scheduler.current.process
        did = "deletes" if xet_hash is None else "writes"
        self.truth.events.append((self.scheduler.now, process.name, f"{did} {bucket_id}/{path}"))
        name = path.split("/")[0]
        if step_of(name) is None or (manifest := self._committed(bucket_id, name)) is None:
            return
        inside = path[len(name) + 1 :]
        same = xet_hash is not None and inside in manifest.files and manifest.files[inside].xet_hash == xet_hash
        if same or inside not in {*manifest.files, MANIFEST_NAME}:
            return
        save = self.truth.save_in(self.hub.read(bucket_id, f"{name}/trainer_state.json"))
        self.truth.committed.add(save.number)
        if (pushing := self.scheduler.current.pushing) is not None:
            if self.truth.is_older(pushing, manifest.push_id) and not self._is_by_hand_beside(process, manifest):
                self.wrong.append(f"{process.name} overwrites {name} {manifest.place} by an older one {pushing}")
        elif xet_hash is None and process.limit is not None:
            others = [other for other in self._all_committed(bucket_id) if other.push_id != manifest.push_id]
            if len(others) < process.limit:
                self.wrong.append(f"{process.name} deletes {name}, and only {len(others)} are left")
            is_newest = all(self.truth.is_older(other.push_id, manifest.push_id) for other in others)
            if is_newest and not self._came_after_the_look(process, manifest):
                self.wrong.append(f"{process.name} deletes {name} {manifest.place}, the newest")
        elif xet_hash is None:
            self.wrong.append(f"{process.name} deletes {name}, which nobody asked for")

    # ---- At the start and at the end of a training ----

    def went_on_where_the_run_stands(self, training, source, before: list[Manifest]) -> None:
        """`"auto"` chose the newest there was, and brought all of it."""
        if source is None:
            assert not before, f"from scratch, though there is checkpoint-{before[0].step}"
            return
        folder = Path(source.path(str(training.output_dir)))
        files = {path: content for path, content in files_of(folder).items() if path != MANIFEST_NAME}
        wrong = self.truth.what_is_wrong(files)
        assert not wrong, f"{folder} is resumed from, but {wrong}"
        manifest = source.checkpoint.manifest if source.checkpoint else whole(folder)[0]
        if manifest is None or manifest.push_id is None:
            return
        for other in before:
            # Where the bucket is empty and the disk holds folders of two runs, nobody can know which one is meant.
            assert other.run != manifest.run or not self.truth.is_older(manifest.push_id, other.push_id), (
                f"{training.name} goes on from {folder.name} {manifest.place}, though there is "
                f"checkpoint-{other.step} {other.place}"
            )

    def is_safe(self, training) -> None:
        """Who says that everything has landed must be right."""
        for save in training.saves[-1:]:
            assert save.number in self.truth.committed, f"{training.name} ended well, but {save.name} is not committed"

    # ---- What is there ----

    def committed(self, bucket_id: str) -> list[Manifest]:
        """The manifests of what is committed."""
        return self._all_committed(bucket_id)

    def _is_by_hand_beside(self, process, manifest: Manifest) -> bool:
        """Whether somebody pushed a checkpoint by hand while this training was under way."""
        placed = self.truth.placed.get(manifest.push_id)
        return placed is not None and placed.training is None and process.began.look < placed.begin

    def _came_after_the_look(self, process, manifest: Manifest) -> bool:
        """Whether somebody pushed a checkpoint anew while somebody else was about to delete the older one of its name."""
        placed = self.truth.placed.get(manifest.push_id)
        return process.began is None and placed is not None and process.begin < (placed.committed or placed.begin)

    def _all_committed(self, bucket_id: str) -> list[Manifest]:
        names = {path.split("/")[0] for path in self.hub.buckets[bucket_id] if path.endswith(f"/{MANIFEST_NAME}")}
        found = [self._committed(bucket_id, name) for name in sorted(names) if step_of(name) is not None]
        return [manifest for manifest in found if manifest is not None]

    def _committed(self, bucket_id: str, name: str) -> Manifest | None:
        files = self.hub.buckets[bucket_id]
        content = self.hub.read(bucket_id, f"{name}/{MANIFEST_NAME}")
        try:
            manifest = content and Manifest.from_json(content)
        except BrokenCheckpointError:
            return None
        there = {path: files.get(f"{name}/{path}") for path in manifest.files} if manifest else {}
        found = {path: FileRecord(file.size, file.xet_hash) for path, file in there.items() if file}
        return manifest if manifest and not manifest.differences(found) else None

    def _files(self, bucket_id: str, checkpoint: RemoteCheckpoint) -> dict[str, bytes]:
        return {path: self.hub.read(bucket_id, f"{checkpoint.name}/{path}") for path in checkpoint.manifest.files}
