"""A save that costs training a copy in memory: the files are written from that copy, on a thread of its own."""

import copy
import logging
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from transformers.trainer_callback import ExportableState
from transformers.training_args import ParallelMode

from .checkpoint_folder import SENTINEL_NAME


logger = logging.getLogger(__name__)

_TransformersTrainer = transformers.Trainer  # as it is now: `run` puts ours in its place

# What a checkpoint consists of is decided in these methods. A subclass with its own may read what is not copied.
_SAVING_METHODS = (
    "_save_checkpoint",
    "save_model",
    "_save",
    "_save_optimizer_and_scheduler",
    "_save_scaler",
    "_save_rng_state",
)


class StagedSaver:
    """
    Saves checkpoints of a trainer from copies in memory.

    At most two copies of model, optimizer and the rest are alive: one being written and one that waits. A third save
    waits for the first to be on disk. Frozen parameters are not copied.

    Raises:
        `ImportError`: If torch is too old to have `torch.distributed.checkpoint.staging.DefaultStager`.
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
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="save-checkpoint")

    def save(self, trainer, trial, folder: str, then: Callable[[], None]) -> None:
        """
        Copy the state of a training and let the writer save it. Returns after the copy.

        Args:
            trainer ([`~transformers.Trainer`]):
                The trainer.
            trial (`optuna.Trial` or `dict`, *optional*):
                The trial, as in `Trainer._save_checkpoint`.
            folder (`str`):
                Where the checkpoint goes.
            then (`Callable`):
                Called on the writer once the folder is complete.

        Raises:
            Whatever went wrong with an earlier save.
        """
        slot = self._free_slot()
        if trainer.hp_search_backend is None and trial is None:
            trainer.store_flos()
        os.makedirs(folder, exist_ok=True)
        sentinel = Path(folder, SENTINEL_NAME)
        sentinel.write_text("This checkpoint is being written.")
        if not trainer.args.save_only_model:
            trainer._save_rng_state(folder)  # a few kilobytes, and only this thread knows them
        twin = _twin(trainer, self._stagers[slot])

        def write() -> None:
            _TransformersTrainer._save_checkpoint(twin, twin.model, trial)
            trainer.state.best_model_checkpoint = twin.state.best_model_checkpoint
            sentinel.unlink()
            then()

        self._writes[slot] = self._writer.submit(write)

    def wait(self) -> None:
        """
        Wait until everything is on disk.

        Raises:
            Whatever went wrong with a save, as if it had been an ordinary one.
        """
        writes, self._writes = self._writes, [None, None]
        for write in filter(None, writes):
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
    if trainer.args.parallel_mode != ParallelMode.NOT_PARALLEL and trainer.args.world_size > 1:
        return "several processes train"
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return "the state is sharded"
    if trainer.args.push_to_hub:
        return "push_to_hub reads the checkpoint at once"
    for method in _SAVING_METHODS:
        owner = next(base for base in type(trainer).__mro__ if method in vars(base) and not _is_ours(base))
        if owner is not _TransformersTrainer:
            return f"{owner.__name__} has its own {method}"
    return None


def _is_ours(base: type) -> bool:
    return base.__module__.partition(".")[0] == __name__.partition(".")[0]


def _twin(trainer, stager):
    """A trainer that saves what `trainer` is now, whatever becomes of it meanwhile."""
    twin = copy.copy(trainer)
    twin.__class__ = type(f"Staged{type(trainer).__name__}", (_Staged, type(trainer)), {})
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
    twin._staged_model = {name: staged["model"].get(name, live[name]) for name in live}
    twin.optimizer = _holding(staged["optimizer"])
    twin.lr_scheduler = _holding(staged["lr_scheduler"])
    twin.accelerator = copy.copy(trainer.accelerator)
    twin.accelerator.scaler = staged["scaler"] and _holding(staged["scaler"])
    twin.state = copy.deepcopy(trainer.state)
    twin.control = copy.copy(trainer.control)
    twin.callback_handler = SimpleNamespace(
        callbacks=[copy.copy(cb) for cb in trainer.callback_handler.callbacks if isinstance(cb, ExportableState)]
    )
    return twin


def _holding(state: dict) -> SimpleNamespace:
    return SimpleNamespace(state_dict=lambda: state)


class _Staged:
    """What a twin does differently: its weights are the copy, and some files are written already."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict=self._staged_model)

    def _save_rng_state(self, output_dir: str) -> None:
        """Done on the training thread."""

    def store_flos(self) -> None:
        """Done on the training thread."""

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Done once the folder is complete."""
