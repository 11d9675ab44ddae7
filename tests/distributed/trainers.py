"""Trainers for two ranks, one of which is late."""

import hashlib
import os
import time

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from tests.training import tiny_trainer
from transformers_buckets import Trainer


class RemindingTrainer(Trainer):
    """Every rank remembers what it resumed from."""

    resumed_from = None

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.resumed_from = os.path.abspath(resume_from_checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)


class LateTrainer(RemindingTrainer):
    """Rank 1 takes its time to write its files, on purpose."""

    def _save_rng_state(self, output_dir):
        if self.args.process_index == 1 and self.args.push_to_bucket and self.state.global_step == 2:
            time.sleep(2)
        super()._save_rng_state(output_dir)


class ShardedTrainer(LateTrainer):
    """Saves as FSDP does with sharded state: no weights in one file, but folders into which every rank writes its part."""

    def save_model(self, output_dir=None, _internal_call=False):
        if self.args.should_save:
            self.model.config.save_pretrained(output_dir or self.args.output_dir)

    def _save_optimizer_and_scheduler(self, output_dir):
        model, optimizer = self._state()
        dcp.save(model, checkpoint_id=os.path.join(output_dir, "pytorch_model_fsdp_0"))
        dcp.save(optimizer, checkpoint_id=os.path.join(output_dir, "optimizer_0"))
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), os.path.join(output_dir, "scheduler.pt"))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.resumed_from = os.path.abspath(resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint):
        if checkpoint is None:
            return
        model, optimizer = self._state()
        dcp.load(model, checkpoint_id=os.path.join(checkpoint, "pytorch_model_fsdp_0"))
        dcp.load(optimizer, checkpoint_id=os.path.join(checkpoint, "optimizer_0"))
        set_state_dict(self.model, self.optimizer.optimizer, model_state_dict=model, optim_state_dict=optimizer)
        self.lr_scheduler.load_state_dict(torch.load(os.path.join(checkpoint, "scheduler.pt")))

    def _state(self) -> tuple[dict, dict]:
        return get_state_dict(self.model, self.optimizer.optimizer)


def two_rank_trainer(output_dir, trainer_class=LateTrainer, **arguments):
    """A trainer of four steps, saving at 2 and 4."""
    defaults = dict(max_steps=4, save_steps=2, hub_always_push=True)
    return tiny_trainer(output_dir, trainer_class=trainer_class, **{**defaults, **arguments})


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """A digest of all weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
