"""`Seq2SeqTrainer`, which generates while it evaluates."""

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

from tests.ecosystem import tiny
from tests.hub.contents import committed
from tests.training import same_weights, tiny_dataset
from transformers_buckets import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments


FLAGS = dict(
    max_steps=4,
    save_steps=2,
    logging_steps=1,
    per_device_train_batch_size=4,
    report_to=[],
    disable_tqdm=True,
    use_cpu=True,
    hub_always_push=True,
)


def t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = dict(vocab_size=64, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    return T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))


def test_seq2seq_generates_while_it_evaluates_pushes_and_resumes(bucket_id, tmp_path):
    def trainer(folder, **flags):
        args = Seq2SeqTrainingArguments(
            output_dir=str(tmp_path / folder),
            predict_with_generate=True,
            generation_max_length=4,
            eval_strategy="steps",
            eval_steps=2,
            **FLAGS,
            **flags,
        )
        return Seq2SeqTrainer(
            model=t5(),
            args=args,
            train_dataset=tiny_dataset(),
            eval_dataset=tiny_dataset(4),
            processing_class=tiny.tokenizer(),
            compute_metrics=lambda prediction: {"length": float(prediction.predictions.shape[1])},
        )

    whole = trainer("whole", push_to_bucket=True, bucket_id=bucket_id)
    whole.train()
    resumed = trainer("resumed", push_to_bucket=True, bucket_id=bucket_id)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert "eval_length" in resumed.state.log_history[-2]
    assert same_weights(resumed.model, whole.model)


def test_seq2seq_classes_are_kinds_of_the_plain_ones_as_in_transformers():
    assert issubclass(Seq2SeqTrainer, Trainer) and issubclass(Seq2SeqTrainer, transformers.Seq2SeqTrainer)
    assert issubclass(Seq2SeqTrainingArguments, TrainingArguments)
