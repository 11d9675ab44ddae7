"""Causal language modeling in the manner of transformers' example of this name. It knows nothing of buckets."""

import logging
import os
from dataclasses import dataclass, field

import datasets
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    config_name: str = field(metadata={"help": "Configuration to train from scratch."})
    tokenizer_name: str = field(metadata={"help": "Tokenizer."})


@dataclass
class DataTrainingArguments:
    train_file: str = field(metadata={"help": "The input training data file (a text file)."})
    block_size: int = field(default=16, metadata={"help": "Input sequence length after tokenization."})


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    set_seed(training_args.seed)

    raw_dataset = datasets.load_dataset("text", data_files=data_args.train_file, split="train")
    tokenizer = AutoTokenizer.from_pretrained(model_args.tokenizer_name)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_args.config_name))

    def tokenize_function(examples):
        return tokenizer(examples["text"])

    def group_texts(examples):
        joined = {key: sum(examples[key], []) for key in examples}
        total = len(joined["input_ids"]) // data_args.block_size * data_args.block_size
        blocks = {
            key: [tokens[start : start + data_args.block_size] for start in range(0, total, data_args.block_size)]
            for key, tokens in joined.items()
        }
        return {**blocks, "labels": [list(block) for block in blocks["input_ids"]]}

    with training_args.main_process_first(desc="dataset map tokenization"):
        tokenized = raw_dataset.map(tokenize_function, batched=True, remove_columns=["text"])
        train_dataset = tokenized.map(group_texts, batched=True)

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        processing_class=tokenizer,
        data_collator=default_data_collator,
    )

    if training_args.do_train:
        checkpoint = None
        if training_args.resume_from_checkpoint is not None:
            checkpoint = training_args.resume_from_checkpoint
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()

        metrics = train_result.metrics
        metrics["train_samples"] = len(train_dataset)
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    kwargs = {"tasks": "text-generation", "dataset": os.path.basename(data_args.train_file)}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


if __name__ == "__main__":
    main()
