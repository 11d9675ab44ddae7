"""Reads its flags with argparse and says nothing about buckets."""

import argparse

from transformers import Trainer, TrainingArguments

from tests.training import tiny_dataset, tiny_model


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--out", required=True)
flags = parser.parse_args()
args = TrainingArguments(
    flags.out, max_steps=flags.steps, save_steps=2, logging_steps=1, report_to=[], disable_tqdm=True, use_cpu=True
)
Trainer(model=tiny_model(), args=args, train_dataset=tiny_dataset()).train()
