"""The shortest script there is: flags are parsed, `resume_from_checkpoint` is never read."""

from transformers import HfArgumentParser, Trainer, TrainingArguments

from tests.training import tiny_dataset, tiny_model


if __name__ == "__main__":
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
    trainer = Trainer(model=tiny_model(), args=args, train_dataset=tiny_dataset())
    trainer.train()
    print(f"steps: {[log['step'] for log in trainer.state.log_history if 'loss' in log]}")
