"""Train a small byte-level language model on the sources of Python's standard library.

An ordinary `transformers` script, except for the three lines marked (1), (2) and (3).
"""

import argparse
import sysconfig
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from transformers_buckets import Trainer, TrainingArguments  # (1) instead of: from transformers import ...


parser = argparse.ArgumentParser()
parser.add_argument("output_dir")
parser.add_argument("--bucket", help="bucket for the checkpoints; none: keep them on local disk only")
parser.add_argument("--resume", help="address to resume from")
options = parser.parse_args()

text = b"".join(file.read_bytes() for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))
blocks = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()[: len(text) // 128 * 128].view(-1, 128)

set_seed(0)
config = GPT2Config(
    vocab_size=256, n_positions=128, n_embd=256, n_layer=6, n_head=8, bos_token_id=None, eos_token_id=None
)
model = GPT2LMHeadModel(config)
print(f"{model.num_parameters():,} parameters, {len(text):,} bytes of text")

args = TrainingArguments(
    output_dir=options.output_dir,
    max_steps=60,
    save_steps=10,
    logging_steps=1,
    per_device_train_batch_size=4,
    learning_rate=1e-3,
    report_to="none",
    use_cpu=True,
    full_determinism=True,
    push_to_bucket=options.bucket is not None,  # (2) and where to:
    bucket_id=options.bucket,
)
trainer = Trainer(model=model, args=args, train_dataset=[{"input_ids": row, "labels": row} for row in blocks])
trainer.train(resume_from_checkpoint=options.resume)  # (3) "hf://buckets/..." instead of a folder on local disk
