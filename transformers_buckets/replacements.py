"""Classes that stand in the place of those of transformers, for scripts that know nothing of buckets. See `run.py`."""

import functools
import sys
from collections.abc import Callable, Mapping

import transformers

import transformers_buckets

from . import trainer, training_args


_flags: dict[str, object] = {}  # what was typed in front of the script; it is set on all training arguments
_users: list[str] = []  # the classes of the training arguments that were made


class Trainer(trainer.Trainer):
    __doc__ = trainer.Trainer.__doc__

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A class built on this one, such as those of TRL, stands in front of the mixin and writes the model card its own way.
        if "create_model_card" in vars(cls):
            cls.create_model_card = _then_name_bucket(cls.create_model_card)

    def train(self, resume_from_checkpoint: str | bool | None = None, trial=None, *args, **kwargs):
        """As usual, but a script need not read `--resume_from_checkpoint`: the first training goes by it as well."""
        if resume_from_checkpoint is None and trial is None and self.state.global_step == 0:
            resume_from_checkpoint = self.args.resume_from_checkpoint
        return super().train(resume_from_checkpoint, trial, *args, **kwargs)


class Seq2SeqTrainer(Trainer, trainer.Seq2SeqTrainer):
    __doc__ = trainer.Seq2SeqTrainer.__doc__


class TrainingArguments(training_args.TrainingArguments):
    __doc__ = training_args.TrainingArguments.__doc__

    def __post_init__(self):
        vars(self).update(_flags)
        _users.append(type(self).__name__)
        super().__post_init__()


class Seq2SeqTrainingArguments(TrainingArguments, training_args.Seq2SeqTrainingArguments):
    __doc__ = training_args.Seq2SeqTrainingArguments.__doc__


class _NothingToMixIn:
    """What a script that knows this package mixes in here: every trainer and all arguments have it already."""


def _then_name_bucket(create_model_card: Callable) -> Callable:
    @functools.wraps(create_model_card)
    def create_and_name_bucket(self, *args, **kwargs) -> None:
        create_model_card(self, *args, **kwargs)
        self._name_bucket_in_model_card()

    return create_and_name_bucket


def replace_classes(flags: Mapping[str, object]) -> None:
    """
    Put the classes of this package in the place of those of transformers, for the rest of this process.

    Args:
        flags (`Mapping[str, object]`):
            Training arguments by name; they go before what the script says.
    """
    _flags.update(flags)
    ours = {
        transformers.Trainer: Trainer,
        transformers.Seq2SeqTrainer: Seq2SeqTrainer,
        transformers.TrainingArguments: TrainingArguments,
        transformers.Seq2SeqTrainingArguments: Seq2SeqTrainingArguments,
    }
    # `transformers` hands out what its modules hold, so a name set on the package alone would not last.
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "transformers":
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value in ours:
                    setattr(module, attribute, ours[value])
    for replacement in ours.values():
        setattr(transformers_buckets, replacement.__name__, replacement)
    transformers_buckets.BucketTrainerMixin = transformers_buckets.BucketArguments = _NothingToMixIn


def were_used() -> bool:
    """Whether anybody made training arguments since: without any, flags have no effect."""
    return bool(_users)
