"""Who competes: how a checkpoint leaves the machine, and how a user gets it back on an empty one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import transformers

from .life import Notes


TARGET = "demo/goodput"  # each contestant has a Hub of its own


class NotedTrainer(transformers.Trainer):
    """Notes when the checkpoint is at hand: whatever is mixed in in front, it calls this with a local path."""

    notes: Notes

    def train(self, resume_from_checkpoint=None, **kwargs):
        self.notes.add("brought")
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)


class _Steps(transformers.TrainerCallback):
    def __init__(self, notes: Notes):
        self.notes = notes

    def on_train_begin(self, args, state, control, **kwargs):
        self.notes.add("loaded", state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        self.notes.add("step", state.global_step)


def _nothing(disk: Path, refused: Iterable[str]) -> None:
    return None


def _auto(disk: Path, refused: Iterable[str]) -> str:
    return "auto"


def _from_bucket(disk: Path, refused: Iterable[str]) -> str | None:
    """The folder of the highest step, synced back."""
    from huggingface_hub import HfApi

    api = HfApi()
    names = [Path(entry.path).name for entry in api.list_bucket_tree(TARGET, recursive=False)]
    name = _newest(names, refused)
    if name:
        api.sync_bucket(f"hf://buckets/{TARGET}/{name}", str(disk / "out" / name), quiet=True)
    return name and str(disk / "out" / name)


def _from_repo(disk: Path, refused: Iterable[str]) -> str | None:
    """The folder of the highest step, and nothing else of the snapshot."""
    from huggingface_hub import HfApi, snapshot_download

    name = _newest([Path(entry.path).name for entry in HfApi().list_repo_tree(TARGET)], refused)
    if name:
        snapshot_download(TARGET, allow_patterns=f"{name}/*", local_dir=disk / "out")
    return name and str(disk / "out" / name)


def _last_from_repo(disk: Path, refused: Iterable[str]) -> str | None:
    """`last-checkpoint`, as the documentation of `hub_strategy` has it; beside `output_dir`, which is pushed."""
    from huggingface_hub import snapshot_download

    snapshot_download(TARGET, allow_patterns="last-checkpoint/*", local_dir=disk / "pulled")
    folder = disk / "pulled" / "last-checkpoint"
    return str(folder) if folder.is_dir() and folder.name not in refused else None


def _newest(names: Iterable[str], refused: Iterable[str]) -> str | None:
    found = [name for name in names if name.startswith("checkpoint-") and name not in refused]
    return max(found, key=lambda name: int(name.rpartition("-")[2]), default=None)


@dataclass(frozen=True)
class Contestant:
    """
    One way to keep a training alive.

    Args:
        label (`str`):
            What the report calls it.
        arguments (`dict`, *optional*):
            What it adds to the training arguments.
        bring (`Callable[[Path, Iterable[str]], str | None]`, *optional*):
            Gets what `train(resume_from_checkpoint=...)` takes, given the disk and the names that could not be loaded.
        syncs (`bool`, *optional*, defaults to `False`):
            Whether a callback syncs `output_dir` after each save.
    """

    label: str
    arguments: dict = field(default_factory=dict)
    bring: Callable[[Path, Iterable[str]], str | None] = _nothing
    syncs: bool = False

    def classes(self) -> tuple[type, type]:
        """Of the trainer and of its arguments. Only those who need this package pay for its import."""
        if "push_to_bucket" not in self.arguments:
            return NotedTrainer, transformers.TrainingArguments
        import transformers_buckets

        class NotedBucketTrainer(transformers_buckets.BucketTrainerMixin, NotedTrainer):
            pass

        return NotedBucketTrainer, transformers_buckets.TrainingArguments

    def trainer(self, notes: Notes, output_dir: str, arguments: dict, **parts) -> transformers.Trainer:
        """The trainer, with its arguments and callbacks."""
        trainer_class, arguments_class = self.classes()
        trainer = trainer_class(args=arguments_class(output_dir=output_dir, **arguments, **self.arguments), **parts)
        trainer.notes = notes
        trainer.add_callback(_Steps(notes))
        if self.syncs:
            from ..background_sync import BackgroundSync

            trainer.add_callback(BackgroundSync(TARGET))
        return trainer


_bucket = partial(dict, push_to_bucket=True, bucket_id=TARGET)
_repo = partial(dict, push_to_hub=True, hub_model_id=TARGET)

CONTESTANTS = {
    "plain": Contestant("plain Trainer, never interrupted"),
    "ours": Contestant("transformers_buckets", _bucket(), _auto),
    "ours-async": Contestant("transformers_buckets, async_save", _bucket(async_save=True), _auto),
    "ours-no-disk": Contestant("transformers_buckets, no disk", _bucket(keep_local=False), _auto),
    "sync": Contestant("sync_bucket after each save", {}, _from_bucket, syncs=True),
    "push-last": Contestant("push_to_hub, checkpoint", _repo(hub_strategy="checkpoint"), _last_from_repo),
    "push-all": Contestant("push_to_hub, all_checkpoints", _repo(hub_strategy="all_checkpoints"), _from_repo),
}
