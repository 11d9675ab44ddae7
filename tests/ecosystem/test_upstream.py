"""A base class that pushes to buckets itself, made in the manner of pull request 46386 of transformers."""

import os
from dataclasses import dataclass

import pytest
import transformers
from huggingface_hub import HfApi

from tests.ecosystem import tiny
from tests.hub.callbacks import Pushes
from tests.hub.contents import bucket_files, committed, repo_files
from tests.training import same_weights, tiny_dataset, tiny_model
from transformers_buckets import BucketArguments, BucketTrainerMixin


@dataclass
class UpstreamArguments(transformers.TrainingArguments):
    push_to_bucket: bool = False
    bucket_id: str | None = None


class UpstreamTrainer(transformers.Trainer):
    """Creates the bucket when it is made, and syncs `output_dir` at saves and in `save_model`."""

    def __init__(self, *args, **kwargs):
        self.syncs = 0
        super().__init__(*args, **kwargs)
        if self.args.push_to_bucket and self.is_world_process_zero():
            self.init_bucket()

    def init_bucket(self):
        self._bucket_id = HfApi().create_bucket(self.args.bucket_id, exist_ok=True).bucket_id

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        if self.args.push_to_bucket and not self.args.push_to_hub:
            self._push_from_checkpoint(os.path.join(self.args.output_dir, f"checkpoint-{self.state.global_step}"))

    def _push_from_checkpoint(self, checkpoint_folder):
        if self.args.push_to_hub:
            super()._push_from_checkpoint(checkpoint_folder)
        if self.args.push_to_bucket:
            self._sync()

    def save_model(self, output_dir=None, _internal_call=False):
        super().save_model(output_dir, _internal_call=_internal_call)
        if self.args.push_to_bucket and not _internal_call:
            self._sync()

    def _sync(self):
        self.syncs += 1
        HfApi().sync_bucket(self.args.output_dir, f"hf://buckets/{self._bucket_id}")


class Trainer(BucketTrainerMixin, UpstreamTrainer):
    pass


@dataclass
class Arguments(BucketArguments, UpstreamArguments):
    pass


def trainer_of(trainer_class, arguments_class, output_dir, callbacks=None, **arguments):
    defaults = dict(max_steps=4, save_steps=2, per_device_train_batch_size=4, report_to=[], disable_tqdm=True)
    arguments = {**defaults, "use_cpu": True, "push_to_bucket": True, "hub_always_push": True, **arguments}
    return trainer_class(
        model=tiny_model(),
        args=arguments_class(output_dir=str(output_dir), **arguments),
        train_dataset=tiny_dataset(),
        callbacks=callbacks,
    )


def test_the_stand_in_pushes_by_itself(bucket_id, tmp_path):
    trainer = trainer_of(UpstreamTrainer, UpstreamArguments, tmp_path / "out", bucket_id=bucket_id)
    trainer.train()

    assert trainer.syncs == 2
    assert "checkpoint-4/model.safetensors" in bucket_files(bucket_id)
    assert committed(bucket_id) == []


@pytest.mark.parametrize("arguments_class", [Arguments, UpstreamArguments], ids=["our flags", "its own flags"])
@pytest.mark.parametrize("push_to_hub", [False, True], ids=["no repo", "repo"])
def test_everything_is_pushed_once_and_by_us(hub, bucket_id, tmp_path, messages, arguments_class, push_to_hub):
    repo_id, pushes = f"demo/model-{bucket_id[-8:]}", Pushes()
    trainer = trainer_of(
        Trainer,
        arguments_class,
        tmp_path / "out",
        bucket_id=f"{bucket_id}/run-1",
        push_to_hub=push_to_hub,
        hub_model_id=repo_id,
        callbacks=[pushes],
    )
    trainer.train()

    assert trainer.syncs == 0
    assert pushes.begun == 2
    assert committed(f"{bucket_id}/run-1") == ["checkpoint-2", "checkpoint-4"]
    assert all(path.startswith("run-1/") and "_bucket" not in path for path in bucket_files(bucket_id))
    assert ("model.safetensors" in (repo_files(repo_id) or ())) == push_to_hub
    assert trainer.args.push_to_bucket
    said = [line for line in messages() if "base class" in line]
    assert said == ["transformers_buckets pushes to the bucket; the base class of Trainer leaves that to it."]


def test_its_model_goes_to_the_root_once(hub, bucket_id, tmp_path):
    trainer = trainer_of(Trainer, Arguments, tmp_path / "out", bucket_id=bucket_id, save_strategy="no")
    trainer.train()
    trainer.save_model()

    assert trainer.syncs == 0
    assert "model.safetensors" in bucket_files(bucket_id)


def test_a_fresh_folder_resumes_exactly(bucket_id, tmp_path):
    whole = trainer_of(Trainer, Arguments, tmp_path / "whole", bucket_id=bucket_id)
    whole.train()

    resumed = trainer_of(Trainer, Arguments, tmp_path / "resumed", bucket_id=bucket_id)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")

    assert same_weights(resumed.model, whole.model)


def test_switched_off_nothing_is_pushed(bucket_id, tmp_path, messages):
    trainer = trainer_of(Trainer, Arguments, tmp_path / "out", bucket_id=bucket_id, push_to_bucket=False)
    trainer.train()

    assert (trainer.syncs, bucket_files(bucket_id)) == (0, None)
    assert messages() == [f"bucket_id={bucket_id!r} has no effect without push_to_bucket=True: nothing is pushed."]
