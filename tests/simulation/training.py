"""A training without a Trainer: what `TrainerBucket` does with the outbox, the lanes and the bucket, in the same order."""

import json
import os
import shutil
from pathlib import Path

from transformers_buckets import resume
from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.bucket.errors import BucketError, BucketPushError
from transformers_buckets.bucket.writer import CheckpointBucket
from transformers_buckets.saving.outbox import detach
from transformers_buckets.saving.takeover import take_over
from transformers_buckets.saving.uploader import Uploader

from .truth import Began, Save, Truth, Witness, added


class Training(Witness):
    """
    One process that trains.

    Args:
        truth ([`Truth`]):
            Where it says what it really does.
        clock (`Callable`):
            Tells the time.
        output_dir (`Path`):
            Its folder.
        address (`str`):
            Its run.
        limit (`int`, *optional*):
            How many checkpoints stay in the bucket.
        keep_all (`bool`):
            Whether all are pushed.
    """

    def __init__(self, truth: Truth, clock, output_dir: Path, address: str, limit: int | None, keep_all: bool):
        super().__init__(f"training {len(truth.trainings)} in {output_dir.name}")
        self.truth, self.clock, self.output_dir, self.address = truth, clock, output_dir, address
        self.limit, self.keep_all = limit, keep_all
        self.uploader: Uploader | None = None
        self.step = 0
        self.saves: list[Save] = []
        self.best: int | None = None
        self.is_ready = False  # to save

    # ---- What the trainer does ----

    def start(self, wanted: str | None) -> resume.Source | None:
        """Begin: from scratch with `None`, where the run stands with `"auto"`, or from an address."""
        self.began = Began(self.clock())
        self.truth.trainings.append(self.began)
        bucket = CheckpointBucket(BucketAddress.parse(self.address, "bucket_id"))
        bucket.create()
        self.uploader = Uploader(bucket, self.output_dir, keep_all=self.keep_all, total_limit=self.limit)
        _, delivering = take_over(self.uploader)
        self.began.claimed = self.clock()
        if delivering and wanted == "auto":
            self.uploader.checkpoints.flush()
        source = self._fetch(wanted)
        if source:
            state = json.loads(Path(source.path(str(self.output_dir)), "trainer_state.json").read_bytes())
            self.step, self.best = state["global_step"], state["best_global_step"]
        self.is_ready = True
        return source

    def save(self, steps: int, with_callback: bool, is_urgent: bool, is_best: bool) -> None:
        """Save a checkpoint some steps later, and let it go to the bucket."""
        self.step += steps
        if is_best:
            self.best = self.step
        save = self.truth.save(self.step, self.best)
        folder = self.output_dir / save.name
        if folder.is_dir():
            detach(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in save.files.items():
            self._write(folder / path, content)
        self.saves.append(save)
        handover = self.uploader.handover
        held = handover.hold(folder)
        if with_callback and not is_urgent:
            save.added = f"callback-{save.number}.json"
            self._write(folder / save.added, added(save.number))
            save.is_through = True
        best = None if self.best is None else f"checkpoint-{self.best}"
        entry = self.uploader.seal(folder, lambda: handover.seal(folder, held, 1, best))
        if entry:
            self.uploader.enqueue(entry, urgent=is_urgent)
        self._rotate()

    def finish(self) -> bool:
        """End. Returns whether the last checkpoint is said to be safe."""
        self.uploader.push_logs()
        try:
            self.uploader.finish(show_progress=False)
        except BucketPushError:
            return False
        return True

    # ---- How it is done ----

    def _fetch(self, wanted: str | None) -> resume.Source | None:
        if wanted is None:
            return None
        bucket, output_dir = self.uploader.bucket, str(self.output_dir)
        source = resume.newest(bucket, output_dir) if wanted == "auto" else resume.at_address(wanted)
        if source is None:
            return None
        if not source.local:
            resume.pull(source, output_dir, None, with_best=True)
            if source.address == bucket.address:
                self.uploader.handover.previous = source.checkpoint.manifest.push_id
        else:
            path = source.local
            entry = self.uploader.seal(path, lambda: self.uploader.handover.pass_on(path))
            if entry:
                self.uploader.enqueue(entry)
        return source

    def _write(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        moment = self.clock() * 10**9
        os.utime(file, ns=(moment, moment))

    def _rotate(self) -> None:
        """As transformers with `save_total_limit=2`, which keeps the best one too."""
        names = [save.name for save in self.saves]
        for name in names[:-2]:
            if name not in names[-2:] and name != f"checkpoint-{self.best}":
                shutil.rmtree(self.output_dir / name, ignore_errors=True)


class Command(Witness):
    """`transformers-buckets push`, `adopt`, `prune` and `rm`."""

    def __init__(self, truth: Truth, clock, address: str):
        super().__init__("a command")
        self.truth, self.clock, self.address = truth, clock, address
        self.begin = 0
        self.push_ids = []

    def push(self, folder: Path) -> bool:
        """Push a folder."""
        return self._do(lambda run: run.root.refresh(run.push(folder)))

    def adopt(self, name: str) -> bool:
        """Adopt a checkpoint."""
        return self._do(lambda run: run.adopt(name))

    def prune(self, keep: int) -> bool:
        """Delete old checkpoints."""
        self.limit = keep
        return self._do(lambda run: run.delete(run.prunable(keep)))

    def remove(self, name: str) -> bool:
        """Delete one checkpoint."""
        self.limit = 0
        return self._do(lambda run: run.delete([name]))

    def _do(self, act) -> bool:
        self.begin = self.clock()
        run = CheckpointBucket(self.address)
        try:
            act(run)
        except (BucketError, ValueError, OSError):
            return False
        for push_id in self.push_ids:
            self.truth.placed[push_id].end = self.clock()
        return True
