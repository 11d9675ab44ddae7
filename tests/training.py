"""Trainings small enough for a test: a Llama of 13,000 parameters on random tokens."""

import hashlib
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from transformers_buckets import Trainer, TrainingArguments


CONFIG = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
    max_position_embeddings=64,
)


def tiny_model(**config) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**CONFIG, **config}))


def tiny_dataset(size: int = 64) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randint(0, CONFIG["vocab_size"], (16,), generator=generator) for _ in range(size)]
    return [{"input_ids": row, "labels": row} for row in tokens]


# The best checkpoint is that of step 2: the loss falls until then, and rises from then on.
BEST = dict(
    load_best_model_at_end=True,
    eval_strategy="steps",
    eval_steps=2,
    metric_for_best_model="loss",
    eval_dataset=tiny_dataset(8),
    learning_rate=0.5,
    lr_scheduler_type="constant_with_warmup",
    warmup_steps=20,
)


def tiny_arguments(output_dir, **arguments) -> TrainingArguments:
    defaults = dict(
        max_steps=6,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        push_to_bucket=True,
        use_cpu=True,
    )
    return TrainingArguments(output_dir=str(output_dir), **{**defaults, **arguments})


def tiny_trainer(output_dir, trainer_class=Trainer, model=None, callbacks=None, eval_dataset=None, **arguments):
    """A trainer that pushes to a bucket; `arguments` go into its TrainingArguments."""
    return trainer_class(
        model=model or tiny_model(),
        args=tiny_arguments(output_dir, **arguments),
        train_dataset=tiny_dataset(),
        eval_dataset=eval_dataset,
        callbacks=callbacks,
    )


def digests(folder: str | Path) -> dict[str, str]:
    """Every file below a folder with the SHA-256 of its content, but for what this package adds on local disk."""
    root = Path(folder)
    ours = {"checkpoint_manifest.json", "downloads.lock"}
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in root.rglob("*")
        if file.is_file() and file.name not in ours
    }


def same_weights(first, second) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
