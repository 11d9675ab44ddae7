"""One life of a training, a process of its own: from its start to its end, or until its machine is lost.

It imports nothing but the standard library until it has noted that it is there: what imports take is a part of a restart.
"""

import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


EVALUATED = 64  # rows that are not trained on


@dataclass(frozen=True)
class Order:
    """
    What is to be done.

    Args:
        contestant (`str`):
            A key of `CONTESTANTS`.
        disk (`str`):
            Folder that stands for the disk of the machine.
        notes (`str`):
            File elsewhere, which outlives the machine.
        parameters (`float`), steps (`int`), save_steps (`int`), batch (`int`):
            Size of the model, steps of the training, steps between saves, rows in a step.
        refused (`tuple[str, ...]`, *optional*):
            Names of checkpoints that an earlier life could not resume from.
    """

    contestant: str
    disk: str
    notes: str
    parameters: float
    steps: int
    save_steps: int
    batch: int
    refused: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Order":
        return cls(**json.loads(text))


class Notes:
    """
    What happened and when, by `time.time`. Each note is written at once, for the next moment may be the last.

    Args:
        file (`str`):
            Appended to, a line of JSON a note.
    """

    def __init__(self, file: str):
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, what: str, value=None) -> None:
        os.write(self._file, json.dumps([time.time(), what, value]).encode() + b"\n")


def live(order: Order) -> None:
    """Train; what a user's script does, with notes."""
    notes = Notes(order.notes)
    import torch
    import transformers

    from ..workload import model_of, text_rows
    from .contestants import CONTESTANTS

    contestant = CONTESTANTS[order.contestant]
    contestant.classes()
    notes.add("imported")
    torch.set_num_threads(1)  # one core for the training, as one on a GPU takes; and sums come out the same each time
    transformers.set_seed(0)
    rows = text_rows(4_000)
    trainer = contestant.trainer(
        notes,
        output_dir=os.path.join(order.disk, "out"),
        arguments=dict(
            max_steps=order.steps,
            save_steps=order.save_steps,
            per_device_train_batch_size=order.batch,
            save_total_limit=2,
            learning_rate=1e-3,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        model=model_of(order.parameters, seed=0),
        train_dataset=rows[EVALUATED:],
        eval_dataset=rows[:EVALUATED],
    )
    notes.add("built")
    found = contestant.bring(Path(order.disk), order.refused)
    notes.add("found", found and Path(found).name)
    trainer.train(resume_from_checkpoint=found)
    notes.add("trained")
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values()))
    notes.add("result", {"weights": digest.hexdigest(), "eval_loss": trainer.evaluate()["eval_loss"]})


if __name__ == "__main__":
    live(Order.from_json(sys.argv[1]))
