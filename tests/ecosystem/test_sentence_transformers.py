"""The trainer of sentence-transformers, whose models are folders of modules."""

from dataclasses import dataclass

import pytest
import torch
from transformers import BertConfig, BertModel


sentence_transformers = pytest.importorskip("sentence_transformers")

from datasets import Dataset  # noqa: E402
from sentence_transformers import models  # noqa: E402
from sentence_transformers.losses import MultipleNegativesRankingLoss  # noqa: E402

from tests.ecosystem import tiny  # noqa: E402
from tests.hub.contents import bucket_files, committed  # noqa: E402
from tests.training import same_weights  # noqa: E402
from transformers_buckets import BucketArguments, BucketTrainerMixin  # noqa: E402


class BucketSentenceTransformerTrainer(BucketTrainerMixin, sentence_transformers.SentenceTransformerTrainer):
    pass


@dataclass
class BucketSentenceTransformerArguments(BucketArguments, sentence_transformers.SentenceTransformerTrainingArguments):
    pass


def tiny_sentence_transformer(folder):
    torch.manual_seed(0)
    sizes = dict(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(BertConfig(**sizes)).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    modules = [models.Transformer(str(folder), max_seq_length=16), models.Pooling(32), models.Dense(32, 8)]
    return sentence_transformers.SentenceTransformer(modules=modules, device="cpu")


def tiny_trainer(tmp_path, name, **flags):
    model = tiny_sentence_transformer(tmp_path / "bert")
    defaults = dict(max_steps=4, save_steps=2, per_device_train_batch_size=4, report_to=[], disable_tqdm=True)
    args = BucketSentenceTransformerArguments(
        output_dir=str(tmp_path / name), use_cpu=True, push_to_bucket=True, hub_always_push=True, **defaults, **flags
    )
    pairs = {side: [tiny.sentence(index + start) for index in range(32)] for side, start in (("a", 0), ("b", 9))}
    return BucketSentenceTransformerTrainer(
        model=model, args=args, train_dataset=Dataset.from_dict(pairs), loss=MultipleNegativesRankingLoss(model)
    )


def test_all_modules_are_pushed_and_resumed(bucket_id, tmp_path):
    whole = tiny_trainer(tmp_path, "whole", bucket_id=bucket_id)
    before = {name: weights.clone() for name, weights in whole.model.state_dict().items()}
    whole.train()
    resumed = tiny_trainer(tmp_path, "resumed", bucket_id=bucket_id)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    layout = {"modules.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors", "README.md"}
    assert layout | {f"checkpoint-4/{path}" for path in layout} <= bucket_files(bucket_id)
    assert any(not torch.equal(before[name], weights) for name, weights in whole.model.state_dict().items())
    assert same_weights(resumed.model, whole.model)
