"""Runs a training script as it is, in a process where the trainers and arguments of transformers can use buckets.

`python -m transformers_buckets run script.py ...` first puts the classes of this package in the place of `Trainer`,
`Seq2SeqTrainer`, `TrainingArguments` and `Seq2SeqTrainingArguments`, in the modules that define them and in those that
have imported them. What is imported afterwards, TRL or a script, gets these and builds its own classes on them.
"""

import functools
import os
import runpy
import sys
from collections.abc import Callable
from typing import NoReturn

import transformers

import transformers_buckets

from . import trainer
from .training_args import Seq2SeqTrainingArguments, TrainingArguments


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


def _then_name_bucket(create_model_card: Callable) -> Callable:
    @functools.wraps(create_model_card)
    def create_and_name_bucket(self, *args, **kwargs) -> None:
        create_model_card(self, *args, **kwargs)
        self._name_bucket_in_model_card()

    return create_and_name_bucket


class _NothingToMixIn:
    """What a script that knows this package mixes in here: every trainer and all arguments have it already."""


def run(argv: list[str]) -> None:
    """
    Run a script, or with `-m` a module, as `python` would, with buckets in its trainers and flags.

    Args:
        argv (`list[str]`):
            The script and its arguments: `["script.py", "--push_to_bucket", ...]` or `["-m", "package.module", ...]`.
    """
    is_module = argv[:1] == ["-m"]
    sys.argv = argv[1:] if is_module else list(argv)
    if not sys.argv or sys.argv[0].startswith("-"):
        _stop("usage: transformers-buckets run [-m] script-or-module [its arguments]")
    script = os.path.abspath(sys.argv[0])
    if not is_module and not os.path.exists(script):
        _stop(f"transformers-buckets run: there is no script {sys.argv[0]}")
    replace_classes()
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.getcwd() if is_module else os.path.dirname(os.path.realpath(script))
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(script, run_name="__main__")


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


def replace_classes() -> None:
    """Put the classes of this package in the place of those of transformers, for the rest of this process."""
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
