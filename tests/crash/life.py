"""A training in a process of its own, made to be killed.

The processes are forked from one that has everything imported and has not touched torch or the Hub yet: a life costs the
training alone, not the seconds of the imports.
"""

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing import connection
from pathlib import Path

import torch
import transformers
from tqdm.auto import tqdm
from transformers import modeling_utils

from tests.training import digests, tiny_trainer
from transformers_buckets.saving import in_memory, lane, memory_folder


gc.freeze()  # as in conftest.py
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])
# What a process asks the operating system to change on disk, as Python's audit events name it.
_DISK_EVENTS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}


class Machine:
    """
    A folder that stands for a computer: its disk, its caches, and beside them what an observer noted.

    Args:
        folder (`Path`):
            Fresh for a fresh machine.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.output_dir = folder / "out"
        self.weights_file = folder / "weights.pt"
        self.log_file = folder / "log.txt"
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True, exist_ok=True)
        self.memory = folder.parent / "memory"  # shared by those that lie side by side, and by nobody else
        self.memory.mkdir(exist_ok=True)

    def saved(self, name: str) -> list[dict[str, str]]:
        """Digests of every save of a checkpoint, noted before a byte of it could leave."""
        return [json.loads(note.read_text()) for note in sorted(self.notes.glob(f"{name}.[0-9]*"))]

    def log(self) -> str:
        """What the user saw."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def weights(self) -> dict[str, torch.Tensor]:
        """The model at the end of the last training that came to its end."""
        return torch.load(self.weights_file)


class Life:
    """
    One process that trains, from its start to its end.

    Args:
        machine ([`Machine`]):
            Where it lives.
        resume (`str` or `bool`, *optional*):
            For `train(resume_from_checkpoint=...)`.
        waits_at_save (`bool`, *optional*, defaults to `False`):
            Whether it waits for [`Life.go_on`] at its first save, rather than before the trainer is built.
        dies_at_disk_event (`int`, *optional*):
            Kills itself right before it changes something in `output_dir` once more, after so many times.
        disk_path (`str`, *optional*, defaults to `""`):
            Counts only what it changes at this path below `output_dir` or, if it is a folder, below that.
        tears (`str`, *optional*):
            Kills itself in the middle of writing this file of its second checkpoint.
        arguments (`dict[str, Any]`):
            For `TrainingArguments`.
    """

    def __init__(
        self,
        machine: Machine,
        resume=None,
        waits_at_save=False,
        dies_at_disk_event=None,
        disk_path="",
        tears=None,
        **arguments,
    ):
        self.machine = machine
        self._ours, theirs = _FORKS.Pipe()
        death = dies_at_disk_event, str(machine.output_dir / disk_path), tears
        self._process = _FORKS.Process(target=_live, args=(machine, theirs, waits_at_save, death, resume, arguments))
        self._process.start()
        theirs.close()
        self._ours.recv()  # it waits

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def go_on(self) -> None:
        """Let it go on."""
        self._ours.send("go on")

    def end(self) -> str:
        """Let it live to its end: `"killed"`, or `"done"` after a training without an error."""
        self._process.join()
        if self._process.exitcode == -signal.SIGKILL:
            return "killed"
        assert self._process.exitcode == 0, self.machine.log()
        return "done"

    def outlives(self, pid: int) -> bool:
        """Wait until either this life or another process is over; whether this one still runs then."""
        other = os.pidfd_open(pid)
        try:
            return self._process.sentinel not in connection.wait([self._process.sentinel, other])
        finally:
            os.close(other)


def live(machine: Machine, resume=None, **arguments) -> str:
    """A whole [`Life`] without a disturbance."""
    life = Life(machine, resume, **arguments)
    life.go_on()
    return life.end()


def _live(machine: Machine, pipe, waits_at_save: bool, death, resume, arguments) -> None:
    log = os.open(machine.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.environ["HF_XET_CACHE"] = str(machine.folder / "xet")
    tqdm.set_lock(threading.RLock())  # the usual one is a semaphore, which outlives a killed process
    torch.set_num_threads(1)
    memory_folder.MEMORY = machine.memory
    in_memory.LOOKED_AT = 20_000  # with `keep_local=False`, files of this size are streamed
    lane.RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0)  # a Hub that is killed here is back within a second

    waiting = [True]

    def wait():
        if waiting:
            waiting.clear()
            pipe.send("waiting")
            pipe.recv()

    if not waits_at_save:
        wait()
    *disk_event, tears = death
    if disk_event[0] is not None:
        _die_at_disk_event(*disk_event)
    if tears is not None:
        _die_in_the_middle_of(tears)
    # Four steps are a whole epoch: in mid-epoch, transformers makes one more step when a finished training is resumed.
    defaults = dict(max_steps=4, save_steps=2, per_device_train_batch_size=16, hub_always_push=True)
    trainer = tiny_trainer(machine.output_dir, **{**defaults, **arguments})
    if trainer.args.push_to_bucket:
        _observe(trainer._bucket.uploader, machine, at_save=wait)
    trainer.train(resume_from_checkpoint=resume)
    torch.save(trainer.model.state_dict(), machine.weights_file)


def _observe(uploader, machine: Machine, at_save) -> None:
    """Note every checkpoint when it is complete, before a copy of it is taken."""
    hold = uploader.handover.hold

    def noting(folder):
        note = machine.notes / f"{Path(folder).name}.{time.time_ns()}"
        note.with_suffix(".new").write_text(json.dumps(digests(folder)))
        note.with_suffix(".new").rename(note)
        at_save()
        return hold(folder)

    uploader.handover.hold = noting


def _die_at_disk_event(number: int, place: str) -> None:
    left = [number]

    def hook(event, args):
        if event in _DISK_EVENTS and _is_at(place, event, args) and (event != "open" or _writes(args[2])):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(hook)


# Who writes which file of a checkpoint.
_WRITERS = {
    "model.safetensors": (modeling_utils, "safe_save_file"),
    "optimizer.pt": (torch, "save"),
    "rng_state.pth": (torch, "save"),
    "trainer_state.json": (transformers.TrainerState, "save_to_json"),
}


def _die_in_the_middle_of(name: str) -> None:
    """When the second one is there, half of it goes again, and so does this process."""
    owner, method = _WRITERS[name]
    write, written = getattr(owner, method), []

    def write_half(content, path, *args, **kwargs):
        write(content, path, *args, **kwargs)
        if Path(path).name != name:
            return
        written.append(path)
        if len(written) == 2:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, method, write_half)


def _is_at(place: str, event: str, args: tuple) -> bool:
    return _path(event, args).startswith(place) or (event == "os.rename" and str(args[1]).startswith(place))


def _path(event: str, args: tuple) -> str:
    # `shutil.rmtree` names files relative to an open folder.
    if event in ("os.remove", "os.rmdir") and args[1] >= 0:
        return f"{os.readlink(f'/proc/self/fd/{args[1]}')}/{args[0]}"
    return str(args[0])


def _writes(flags: int) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR))
