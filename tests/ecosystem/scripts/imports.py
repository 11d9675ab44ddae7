"""Imports trainers and arguments in the ways scripts do, and says as JSON which of them can use buckets."""

import json
import sys

import transformers
import transformers.trainer
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments
from transformers.trainer import Trainer as FromItsModule
from transformers.training_args import TrainingArguments as ArgumentsFromTheirModule


import trl  # isort: skip  # the way of trl: its classes are built on what transformers hands out by now

from transformers_buckets import BucketArguments, BucketTrainerMixin
from transformers_buckets import Trainer as OurTrainer


class Mixed(BucketTrainerMixin, trl.SFTTrainer):
    pass


class MixedArguments(BucketArguments, trl.SFTConfig):
    pass


trainers = [Trainer, FromItsModule, transformers.Trainer, Seq2SeqTrainer, OurTrainer, Mixed]
trainers += [trl.SFTTrainer, trl.DPOTrainer, trl.GRPOTrainer, trl.RewardTrainer]
arguments = [TrainingArguments, ArgumentsFromTheirModule, transformers.TrainingArguments, Seq2SeqTrainingArguments]
arguments += [trl.SFTConfig, trl.DPOConfig, MixedArguments]
report = {
    "argv": sys.argv,
    "path": sys.path[0],
    "file": __file__,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "trainers without": [cls.__name__ for cls in trainers if not hasattr(cls, "push_to_bucket")],
    "not a Trainer": [cls.__name__ for cls in trainers if not issubclass(cls, Trainer)],
    "arguments without": [cls.__name__ for cls in arguments if not hasattr(cls, "push_to_bucket")],
    "not TrainingArguments": [cls.__name__ for cls in arguments if not issubclass(cls, TrainingArguments)],
}
print(json.dumps(report))
