"""One training of one variant: how long each save stops it, how fast it steps meanwhile, what it takes of the machine."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from transformers import PrinterCallback

from . import growth
from .stopwatch import Pace
from .summary import median
from .variants import variants
from .workload import RandomTokens, model_of, size_of


def train(
    letter: str, folder: Path, parameters: float, seed: int, saves: int, steps_between: int = 4, grown_to: int = 0
) -> dict:
    """
    Train, save and push.

    Args:
        letter (`str`):
            Which variant.
        folder (`Path`):
            Where its `output_dir` goes.
        parameters (`float`):
            Size of the model.
        seed (`int`):
            Different weights for different seeds: what one training stores is new to the Hub.
        saves (`int`):
            How many saves that find no push under way. One more follows that does.
        steps_between (`int`, *optional*, defaults to 4):
            How many steps at least between saves.
        grown_to (`int`, *optional*):
            How many checkpoints of other days lie in the bucket or repository already.

    Returns:
        `dict`: `saves`, `steps`, `peak_memory` in bytes, and what a save cannot go below: for (a) `copy`, seconds to copy model
        and optimizer in memory; for (d) `links`, seconds that the operating system takes to link the files.
    """
    target = f"demo/{letter}-{uuid4().hex[:8]}"
    if grown_to:
        growth.grow(letter, target, grown_to, folder)
    trainer = variants()[letter].trainer(
        folder / "out", target, model=model_of(parameters, seed), train_dataset=RandomTokens()
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Pace(trainer, saves, steps_between))
    trainer.train()
    assert len(trainer.saves) == saves + 1, f"({letter}) ended after {len(trainer.saves)} saves: a push never landed"
    checkpoint = folder / "out" / f"checkpoint-{trainer.saves[-1].step}"
    return {
        "saves": [asdict(save) for save in trainer.saves],
        "steps": trainer.steps,
        "peak_memory": _peak_memory(),
        "copy": _memory_copy(trainer) if letter == "a" else None,
        "links": _bare_links(checkpoint, folder / "links") if letter == "d" else None,
        "checkpoint_size": size_of(checkpoint),
    }


def _peak_memory() -> int:
    """The most bytes this process ever had in memory, and not the one that it was forked from."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _memory_copy(trainer) -> float:
    """Seconds to copy the state of model and optimizer in memory, the shortest of five."""
    tensors = [*trainer.model.state_dict().values()]
    for state in trainer.optimizer.state.values():
        tensors += [value for value in state.values() if hasattr(value, "copy_")]
    copies = [tensor.clone() for tensor in tensors]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for tensor, copied in zip(tensors, copies, strict=True):
            copied.copy_(tensor.detach())
        times.append(time.perf_counter() - start)
    return min(times)


def _bare_links(checkpoint: Path, folder: Path) -> float:
    """Seconds for two folders, a link to each file, and a small file: what (d) asks of the system. The median of nine."""
    files = [(str(file), file.name) for file in checkpoint.iterdir()]
    folder.mkdir()
    times = []
    for number in range(9):
        outer = f"{folder}/{number}"
        inner = f"{outer}/{checkpoint.name}"
        start = time.perf_counter()
        os.mkdir(outer)
        os.mkdir(inner)
        for file, name in files:
            os.link(file, f"{inner}/{name}")
        label = os.open(f"{outer}/label", os.O_WRONLY | os.O_CREAT)
        os.write(label, bytes(1000))
        os.close(label)
        times.append(time.perf_counter() - start)
    return median(times)
