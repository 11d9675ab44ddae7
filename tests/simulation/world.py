"""The world of the histories: what is alive, what it is doing, and what people can do to it."""

import shutil

from hypothesis import currently_in_test_context, note

from transformers_buckets.bucket.errors import BucketError
from transformers_buckets.bucket.files import local_checkpoints
from transformers_buckets.bucket.inventory import whole
from transformers_buckets.bucket.manifest import Manifest

from .history import History
from .tasks import Task
from .training import Command, Training


_MAIN = ("start", "save", "finish")  # what a training does one after the other
_OF_OTHERS = ("notes.txt", "model-ema.safetensors", "checkpoint-best/model.safetensors", "other/config.json")


class World:
    """
    A history and those who make it.

    Attributes:
        bucket (`str`):
            Where the run lives now.
        trainings (`list[Training]`):
            All there ever were.
        starting (`list`):
            Trainings that are about to begin, and what was there before.
        ending (`list`):
            Trainings that are about to end.
    """

    def __init__(self):
        super().__init__()
        self.history = History()
        self.bucket = "demo/run-0"
        self.history.hub.buckets[self.bucket] = {}
        self.moves = 0
        self.trainings: list[Training] = []
        self.starting: list[tuple[Training, Task, list[Manifest] | None]] = []
        self.ending: list[tuple[Training, Task]] = []

    # ---- Who is there ----

    @property
    def alive(self) -> list[Training]:
        """Those that have neither ended nor died."""
        return [training for training in self.trainings if not training.is_dead]

    def wipe(self, disk) -> None:
        """A disk is lost."""
        self.history.wipe(disk)
        self.history.checks.foreign.pop(disk / "notes.txt", None)

    def is_in_use(self, disk) -> bool:
        """Whether a training has its folder there."""
        return any(training.output_dir == disk for training in self.alive)

    @property
    def idle(self) -> list[Training]:
        """Those that can save now."""
        busy = {task.process for task in self.history.scheduler.tasks if not task.is_done and task.name in _MAIN}
        return [training for training in self.alive if training.is_ready and training not in busy]

    def run(self, task, far) -> None:
        """Let a task get so far. A training may refuse to begin, with a reason."""
        self.history.scheduler.run(task, far)
        for training, start, _ in self.starting:
            if start.is_done and isinstance(start.error, BucketError | ValueError):
                _tell(f"  ! {training.name} did not begin: {start.error}")
                start.error = None
                self.kill(training)

    def deliver(self, training) -> None:
        """Let a process do all it has to do."""
        while tasks := self.history.scheduler.unfinished(training):
            self.run(tasks[0], None)

    def kill(self, process) -> None:
        """A process dies where it is."""
        self.history.scheduler.kill(process)
        self.starting = [entry for entry in self.starting if entry[0] is not process]

    def command(self, act, far) -> None:
        """Somebody runs a command."""
        command = Command(self.history.truth, self.history.clock, self.bucket)
        self.run(self.history.scheduler.begin(command, "command", lambda: act(command)), far)

    def there(self, training) -> list:
        """What a training that goes on must not fall behind: what is committed, and what is whole on its disk."""
        committed = self.history.checks.committed(self.bucket)
        run = {manifest.run for manifest in committed}
        local = [whole(folder) for folder, _ in local_checkpoints(training.output_dir)]
        here = [manifest for manifest, problems in local if manifest and not problems]
        return committed + [manifest for manifest in here if not committed or manifest.run in run]

    def save_on(self, which, steps=1, with_callback=False, is_urgent=False, is_best=False, deliver=True, far=None):
        """One of the trainings saves."""
        training = self.idle[which % len(self.idle)]
        work = lambda: training.save(steps, with_callback, is_urgent, is_best)  # noqa: E731
        self.run(self.history.scheduler.begin(training, "save", work), far)
        if deliver and far is None:
            self.deliver(training)

    def put_things_of_others(self) -> None:
        """Put files into bucket and disks that nobody but their owners may touch."""
        for path in _OF_OTHERS:
            self.history.hub.put(self.bucket, path, path.encode())
            self.history.checks.foreign[self.bucket, path] = path.encode()
        for disk in self.history.disks:
            (disk / "notes.txt").write_bytes(b"notes")
            self.history.checks.foreign[disk / "notes.txt"] = b"notes"

    def upload(self, step, far, is_adopted) -> None:
        """A checkpoint without a manifest comes to the bucket by other means; where there is one, that stays."""
        name, is_empty = f"checkpoint-{step}", not self.history.checks.committed(self.bucket)
        is_there = any(path.startswith(f"{name}/") for path in self.history.hub.buckets[self.bucket])
        if is_there or (is_empty and not is_adopted):
            return
        save = self.history.truth.save(step)
        for path, content in save.files.items():
            self.history.clock()
            self.history.hub.put(self.bucket, f"{name}/{path}", content)
        if is_adopted:
            self.command(lambda command: command.adopt(name), far)

    def copy_folder(self, folder, disk) -> None:
        """A stale checkpoint of another disk is copied to this one, where there is none of its name."""
        if not self.is_in_use(disk) and not (disk / folder.name).exists():
            shutil.copytree(folder, disk / folder.name)

    def close(self) -> None:
        """Tell what happened, and end it."""
        for event in self.history.truth.events:
            _tell("  | {} {}: {}".format(*event))
        self.history.close()


def _tell(text: str) -> None:
    (note if currently_in_test_context() else print)(text)
