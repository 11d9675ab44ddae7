"""A save that costs training a copy in memory: the files are written from that copy, on a thread of its own."""

import copy
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import SimpleNamespace

import torch
import transformers
from transformers.trainer_utils import rotate_checkpoints
from transformers.training_args import ParallelMode

from .marks import begin_writing, end_writing
from .priority import give_way


_TransformersTrainer = transformers.Trainer  # as it is now: `run` puts ours in its place

# They write what is copied in memory.
_LEFT_TO_THE_WRITER = ("_save", "_save_optimizer_and_scheduler", "_save_scaler")
# What a checkpoint consists of is decided in these methods. A subclass with its own may read what is not copied, or look
# for files that are not there yet.
_SAVING_METHODS = ("_save_checkpoint", "save_model", "_save_rng_state", *_LEFT_TO_THE_WRITER)


class StagedSaver:
    """
    Saves checkpoints of a trainer from copies in memory.

    At most two copies of model, optimizer and the rest are alive: one being written and one that waits. A third save
    waits for the first to be on disk. Frozen parameters are not copied.
    """

    def __init__(self):
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        options = StagingOptions(
            use_pinned_memory=torch.cuda.is_available(),
            use_shared_memory=False,
            use_async_staging=False,
            use_non_blocking_copy=torch.cuda.is_available(),
        )
        # A stager keeps its buffers, so two of them are the bound on memory.
        self._stagers = [DefaultStager(options), DefaultStager(options)]
        self._writes: list[Future | None] = [None, None]
        self._newest: str | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="save-checkpoint", initializer=give_way)

    def __reduce__(self):
        return type(None), ()  # a trainer that was pickled or deep-copied saves as usual

    @contextmanager
    def staged(self, trainer, folder: str) -> Iterator[Callable[[Callable], None]]:
        """
        Copy the state of a training. In this context, `trainer` saves without writing the files of what was copied, and
        without deleting older checkpoints. The checkpoint is marked as incomplete until the writer has done both.

        Args:
            trainer ([`~transformers.Trainer`]):
                The trainer.
            folder (`str`):
                Where the checkpoint goes.

        Returns:
            `Callable`: Lets the writer begin, and returns at once. To be called, when all else is saved, with what shall
            happen on the writer to the complete checkpoint: a function of the copied trainer.

        Raises:
            Whatever went wrong with an earlier save.
        """
        slot = self._free_slot()
        self._newest = folder
        begin_writing(folder)
        copied, weights = _copied(trainer, self._stagers[slot])

        def start(then: Callable) -> None:
            copied.state = copy.copy(trainer.state)
            self._writes[slot] = self._writer.submit(self._write, copied, weights, folder, then)

        trainer.args.save_total_limit = None
        for method in _LEFT_TO_THE_WRITER:
            setattr(trainer, method, lambda *args, **kwargs: None)
        try:
            yield start
        finally:
            trainer.args.save_total_limit = copied.args.save_total_limit
            for method in _LEFT_TO_THE_WRITER:
                delattr(trainer, method)

    def _write(self, copied, weights: dict[str, torch.Tensor], folder: str, then: Callable) -> None:
        copied._save(folder, state_dict=weights)
        if not copied.args.save_only_model:
            copied._save_optimizer_and_scheduler(folder)
            copied._save_scaler(folder)
        end_writing(folder)
        then(copied)
        # The folder of the next save may be there already. It must not push out those that can be resumed from.
        if folder == self._newest:
            rotate_checkpoints(
                output_dir=os.path.dirname(folder),
                save_total_limit=copied.args.save_total_limit,
                best_model_checkpoint=copied.state.best_model_checkpoint,
                use_mtime=True,
            )

    def wait(self) -> None:
        """
        Wait until everything is on disk.

        Raises:
            Whatever went wrong with a save, as if it had been an ordinary one.
        """
        writes, self._writes = [write for write in self._writes if write], [None, None]
        wait(writes)  # one that failed must not hide another
        for write in writes:
            write.result()

    def _free_slot(self) -> int:
        """A copy whose buffers may be written over, waiting for the older of the two if both are in use."""
        if all(self._writes):
            wait(self._writes, return_when=FIRST_COMPLETED)
        slot = next(i for i, write in enumerate(self._writes) if write is None or write.done())
        write, self._writes[slot] = self._writes[slot], None
        if write is not None:
            write.result()
        return slot


def why_not_staged(trainer) -> str | None:
    """
    Why checkpoints of a trainer cannot be written from a copy in memory; `None` if they can.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
    """
    try:
        from torch.distributed.checkpoint.staging import DefaultStager  # noqa: F401
        from torch.distributed.tensor import DTensor
    except ImportError:
        return f"torch {torch.__version__} cannot copy state in memory yet"
    args = trainer.args
    is_sharded = any(isinstance(parameter, DTensor) for parameter in trainer.model.parameters())
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or is_sharded:
        return "the state is sharded"
    if args.parallel_mode not in (ParallelMode.NOT_PARALLEL, ParallelMode.NOT_DISTRIBUTED, ParallelMode.DISTRIBUTED):
        return f"{args.parallel_mode} saves in its own way"
    if args.save_on_each_node and args.world_size > 1:
        return "save_on_each_node is set"
    for method in _SAVING_METHODS:
        owner = next(base for base in type(trainer).__mro__ if method in vars(base) and not _is_ours(base))
        if owner is not _TransformersTrainer:
            return f"{owner.__name__} has its own {method}"
    return None


def _is_ours(base: type) -> bool:
    return base.__module__.partition(".")[0] == __name__.partition(".")[0]


def _copied(trainer, stager) -> tuple[object, dict[str, torch.Tensor]]:
    """A trainer whose saving methods write what `trainer` is now, whatever becomes of it meanwhile; and its weights."""
    state = trainer.model.state_dict(keep_vars=True)
    live = {name: tensor.detach() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    frozen = {
        name for name, tensor in state.items() if isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
    }
    staged = stager.stage(
        {
            "model": {name: tensor for name, tensor in live.items() if name not in frozen},
            "optimizer": trainer.optimizer.state_dict(),
            "lr_scheduler": trainer.lr_scheduler.state_dict(),
            "scaler": trainer.accelerator.scaler.state_dict() if trainer.accelerator.scaler is not None else None,
        }
    )
    copied = copy.copy(trainer)
    copied.args = copy.copy(trainer.args)
    copied.optimizer = _holding(staged["optimizer"])
    copied.lr_scheduler = _holding(staged["lr_scheduler"])
    copied.accelerator = copy.copy(trainer.accelerator)
    copied.accelerator.scaler = staged["scaler"] and _holding(staged["scaler"])
    # Callbacks are for the training thread. There it was said already that a push begins.
    copied.callback_handler = SimpleNamespace(on_push_begin=lambda *_: None)
    return copied, {name: staged["model"].get(name, live[name]) for name in live}


def _holding(state: dict) -> SimpleNamespace:
    return SimpleNamespace(state_dict=lambda: state)
