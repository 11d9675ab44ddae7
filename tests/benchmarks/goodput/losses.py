"""A training lives and loses its machine, and lives again on an empty one, until it comes to its end."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers_buckets.local_hub import LocalHub

from .life import Order


_TOO_MANY = 5  # starts that fail in a row: nobody would try on
_MODULE = "tests.benchmarks.goodput.life"


@dataclass
class Life:
    """
    What is known of one process.

    Args:
        start (`float`), end (`float`):
            By `time.time`; the end is that of the training if it came to that.
        fate (`str`):
            `"lost"` with its machine, `"failed"` with an error of its own, or `"done"`.
        notes (`list[tuple[float, str, object]]`):
            What it noted, see [`Notes`].
    """

    start: float
    end: float = 0.0
    fate: str = "failed"
    notes: list[tuple[float, str, object]] = field(default_factory=list)

    def when(self, what: str) -> float | None:
        """When something was noted first."""
        return next((moment for moment, noted, _ in self.notes if noted == what), None)

    def value(self, what: str):
        """What was noted about something first; `None` if nothing was."""
        return next((value for _, noted, value in self.notes if noted == what), None)

    @property
    def steps(self) -> list[tuple[float, int]]:
        """When each step ended."""
        return [(moment, value) for moment, noted, value in self.notes if noted == "step"]


def moments(seed: int, count: int, uninterrupted: float) -> list[float]:
    """How many seconds each machine lasts: between 0.35 and 0.75 of what the uninterrupted training takes."""
    generator = random.Random(seed)
    return [uninterrupted * generator.uniform(0.35, 0.75) for _ in range(count)]


def lives(order: Order, folder: Path, machines_last: Sequence[float], data: Path) -> Iterator[Life]:
    """
    Train to the end, on as many machines as it takes. Once those of the list are lost, the next one stays.

    Args:
        order ([`Order`]):
            What to train; its disk and notes are chosen here.
        folder (`Path`):
            For the disks and notes.
        machines_last (`Sequence[float]`):
            Seconds from the first process on a machine to the loss of it.
        data (`Path`):
            Folder of a Hub that nobody else uses.
    """
    with LocalHub(data) as hub:
        # It stands for one elsewhere, so it gives way to the training. All of its threads are in one group.
        os.setpriority(os.PRIO_PGRP, hub.pid, 19)
        number = 0
        for lasts in [*machines_last, float("inf")]:
            disk, lost_at, refused = folder / f"disk-{number}", time.time() + lasts, ()
            while True:
                one = replace(order, disk=str(disk), notes=str(folder / f"life-{number}.notes"), refused=refused)
                life = _live(one, hub, lost_at)
                yield life
                number += 1
                if life.fate != "failed":
                    break
                refused = (*refused, life.value("found"))
                if len(refused) > _TOO_MANY:
                    raise RuntimeError(f"{order.contestant} failed {len(refused)} times. See {_log(one)}")
            shutil.rmtree(disk)
            if life.fate == "done":
                return


def _live(order: Order, hub: LocalHub, lost_at: float) -> Life:
    environment = {
        **os.environ,
        **hub.environment(),
        "HF_HOME": str(Path(order.disk, "hf-home")),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    Path(order.disk).mkdir(exist_ok=True)
    with _log(order).open("w") as log:
        life = Life(time.time())
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, order.to_json()], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            process.wait(None if lost_at == float("inf") else max(0.0, lost_at - time.time()))
        except subprocess.TimeoutExpired:
            if not any(what == "trained" for _, what, _ in _read(order)):  # else it only looks at its result
                process.kill()
                life.fate = "lost"
            process.wait()
        finally:
            process.kill()  # nobody waits for it any more
            process.wait()
    life.end, life.notes = time.time(), _read(order)
    if life.when("trained"):
        life.fate, life.end = "done", life.when("trained")
    return life


def _read(order: Order) -> list[tuple[float, str, object]]:
    notes = Path(order.notes)
    return [tuple(json.loads(line)) for line in notes.read_text().splitlines()] if notes.exists() else []


def _log(order: Order) -> Path:
    """What the process said."""
    return Path(order.notes).with_suffix(".log")
