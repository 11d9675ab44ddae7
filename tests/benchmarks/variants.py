"""The ways to save that are compared. Each is a trainer with its arguments."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import transformers

import transformers_buckets
from transformers_buckets.saving import snapshot

from .background_sync import BackgroundSync
from .stopwatch import Stopwatch, UpstreamStopwatch


class PlainTrainer(Stopwatch, transformers.Trainer):
    """(a) No upload at all."""


class ModelRepoTrainer(Stopwatch, transformers.Trainer):
    """(b) The Trainer's own push to a model repository. It skips a save while it is busy."""

    @property
    def is_pushing(self) -> bool:
        return self.push_in_progress is not None and not self.push_in_progress.is_done()

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        before = self.push_in_progress
        super()._push_from_checkpoint(checkpoint_folder)
        if self.push_in_progress is not before:
            step = self.state.global_step
            self.push_in_progress.jobs[-1].add_done_callback(lambda job: self.land(step))


class SyncTrainer(Stopwatch, transformers.Trainer):
    """(c) `sync_bucket` in the background."""

    def __init__(self, *args, bucket_id: str, **kwargs):
        self.sync = BackgroundSync(bucket_id)
        super().__init__(*args, **kwargs)
        self.add_callback(self.sync)
        self.add_callback(_LandOnSync(self))

    @property
    def is_pushing(self) -> bool:
        return not all(sync.done() for sync in self.sync.syncs)


class _LandOnSync(transformers.TrainerCallback):
    def __init__(self, trainer: SyncTrainer):
        self.trainer = trainer

    def on_save(self, args, state, control, **kwargs):
        step = state.global_step
        self.trainer.sync.syncs[-1].add_done_callback(lambda sync: self.trainer.land(step))


class AsyncBucketTrainer(Stopwatch, transformers_buckets.BucketTrainerMixin, transformers.Trainer):
    """(e) This package, with files written in the background as well."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        bucket = self._bucket.uploader.bucket
        push = bucket.push

        def push_and_land(*args, **kwargs):
            manifest = push(*args, **kwargs)
            self.land(manifest.step)
            return manifest

        bucket.push = push_and_land
        self.watch("links", self._bucket.uploader.outbox, "fill")
        self.watch("queue", self._bucket.uploader, "enqueue")
        if self.args.async_save:
            self.watch("copy", snapshot, "fixed")

    @property
    def is_pushing(self) -> bool:
        is_waiting = bool(self.saves) and self.saves[-1].landed is None
        return is_waiting or not self._bucket.uploader.is_idle


class BucketTrainer(AsyncBucketTrainer, UpstreamStopwatch, transformers.Trainer):
    """(d) This package. The stopwatch inside tells its share of a stop from that of transformers."""


@dataclass(frozen=True)
class Variant:
    """
    One way to save.

    Args:
        letter (`str`), name (`str`):
            What the report calls it.
        trainer_class (`type`):
            Its trainer.
        arguments (`dict`, *optional*):
            What it adds to the training arguments.
    """

    letter: str
    name: str
    trainer_class: type
    arguments: dict = field(default_factory=dict)

    def trainer(self, output_dir: Path, target: str, **parts):
        """
        Args:
            output_dir (`Path`):
                Folder of the run.
            target (`str`):
                `namespace/name` of the bucket or model repository.
            parts:
                Passed along to the trainer.
        """
        arguments = {key: target if value == "TARGET" else value for key, value in self.arguments.items()}
        arguments_class = transformers.TrainingArguments
        if issubclass(self.trainer_class, AsyncBucketTrainer):
            arguments_class = transformers_buckets.TrainingArguments
        if self.trainer_class is SyncTrainer:
            parts["bucket_id"] = target
        args = arguments_class(
            output_dir=str(output_dir),
            max_steps=5_000,
            per_device_train_batch_size=1,
            save_strategy="no",  # `Pace` decides
            save_total_limit=2,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **arguments,
        )
        return self.trainer_class(args=args, **parts)


def variants() -> dict[str, Variant]:
    """All ways by their letter."""
    bucket = partial(dict, push_to_bucket=True, bucket_id="TARGET")
    found = [
        Variant("a", "plain Trainer, no upload", PlainTrainer),
        Variant(
            "b",
            "push_to_hub, all_checkpoints",
            ModelRepoTrainer,
            dict(push_to_hub=True, hub_strategy="all_checkpoints", hub_model_id="TARGET"),
        ),
        Variant("c", "sync_bucket in the background", SyncTrainer),
        Variant("d", "transformers_buckets", BucketTrainer, bucket()),
        Variant("e", "transformers_buckets, async_save", AsyncBucketTrainer, bucket(async_save=True)),
        Variant("f", "transformers_buckets, no disk", AsyncBucketTrainer, bucket(keep_local=False)),
    ]
    return {variant.letter: variant for variant in found}


def letters() -> str:
    """Those letters in one string."""
    return "".join(variants())
