"""Shards of `torch.distributed.checkpoint`: planned by all ranks together at the save, written by each of them alone later."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import torch
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from .snapshot import Buffers, fixed, replaced, tensors_in
from .written import collect, tell


class HeldShards(FileSystemWriter):
    """
    Takes the place of torch's own writer in one `save`, and holds what that would have written.

    What needs all ranks happens in `save`, on the threads that train: who writes what. Beside the training there is no
    collective any more.

    Args:
        writer (`FileSystemWriter`):
            The writer whose place it takes.
        buffers ([`Buffers`]):
            Where the copies of tensors go.
    """

    def __init__(self, writer: FileSystemWriter, buffers: Buffers):
        super().__init__(writer.path)
        vars(self).update(vars(writer))
        self.results: list[WriteResult] = []  # what is on disk, as torch describes it
        self.is_written_at_once = False
        self._buffers = buffers
        self._plan: SavePlan | None = None
        self._contents: dict = {}
        self._metadata: Metadata | None = None  # on the coordinator

    # ---- Called by `save`, in its turn ----

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        contents = {item.index: planner.resolve_data(item) for item in plan.items}
        tensors = {index: content for index, content in contents.items() if isinstance(content, torch.Tensor)}
        plain = tensors_in(live := list(tensors.values()))
        if plain is None:
            self.is_written_at_once = True
            self._write(plan, planner)
        else:
            copies = fixed(live, plain, self._buffers)
            self._plan, self._contents = plan, {**contents, **dict(zip(tensors, copies, strict=True))}
        nothing_yet = Future()
        nothing_yet.set_result([])
        return nothing_yet

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        self._metadata = metadata

    # ---- Called by the writer of the snapshot, while training goes on ----

    def resolve_data(self, item: WriteItem) -> object:
        """What was held, in the place of a planner who would look at what is live."""
        return self._contents[item.index]

    def write(self) -> None:
        """Write the file of this rank. Its content is forgotten then."""
        if self._plan is not None:
            self._write(self._plan, self)
            self._plan, self._contents = None, {}

    def complete(self, results: list[list[WriteResult]]) -> None:
        """
        Write `.metadata`, which names the files of all ranks.

        Args:
            results (`list[list[WriteResult]]`):
                The `results` of every rank, in their order.
        """
        super().finish(self._metadata, results)

    def _write(self, plan: SavePlan, planner: object) -> None:
        self.results = super().write_data(plan, planner).value()
        if len(self.results) != len(plan.items):  # an error in one of torch's threads ends nothing but the thread
            missing = len(plan.items) - len(self.results)
            raise OSError(f"{missing} of {len(plan.items)} tensors could not be written to {self.path}")


@contextmanager
def holding(folder: str | Path, buffers: Buffers) -> Iterator[list[HeldShards]]:
    """
    In this context, shards that this thread saves into a folder are held rather than written. All ranks must enter it.

    Args:
        folder (`str` or `Path`):
            The folder, as an absolute path.
        buffers ([`Buffers`]):
            Where the copies of tensors go.

    Returns:
        `list[HeldShards]`: One for each save, in their order.
    """
    thread, held = threading.get_ident(), []

    def instead_of(save: Callable) -> Callable:
        @wraps(save)
        def hold(*args, storage_writer=None, **kwargs):
            is_ours = (
                threading.get_ident() == thread
                and type(storage_writer) is FileSystemWriter
                and Path(storage_writer.path).is_relative_to(folder)
                and kwargs.keys() <= {"state_dict", "planner"}  # all ranks, to the folder of the writer
            )
            if is_ours:
                storage_writer = HeldShards(storage_writer, buffers)
                held.append(storage_writer)
            return save(*args, storage_writer=storage_writer, **kwargs)

        return hold

    with replaced("torch.distributed.checkpoint", "save", instead_of):
        yield held


def write_shards(
    shards: Sequence[HeldShards], folder: Path, rank: int, world_size: int, timeout: Callable[[], float]
) -> None:
    """
    Write what is held, beside the training; on rank zero, complete it when all ranks have.

    Args:
        shards (`Sequence[HeldShards]`):
            Those of this rank. Every rank has as many.
        folder (`Path`):
            Where the ranks tell each other, on a disk that they share.
        rank (`int`):
            This rank.
        world_size (`int`):
            How many there are.
        timeout (`Callable`):
            Seconds in which nothing is written after which rank zero gives others up.

    Raises:
        [`BucketError`]: On rank zero, if another rank failed, or is given up.
    """
    for held in shards:
        held.write()
    if rank:
        return tell(folder, rank, [held.results for held in shards])
    others = collect(folder, range(1, world_size), timeout)
    for index, held in enumerate(shards):
        held.complete([held.results, *(results[index] for results in others)])
