"""TRL's trainers with the mixin in front: real ones, a few steps each."""

from dataclasses import dataclass

import pytest


trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402

from tests.ecosystem import tiny  # noqa: E402
from tests.hub.contents import committed, root_files  # noqa: E402
from tests.training import same_weights  # noqa: E402
from transformers_buckets import BucketArguments, BucketTrainerMixin  # noqa: E402


class BucketSFTTrainer(BucketTrainerMixin, trl.SFTTrainer):
    pass


class BucketDPOTrainer(BucketTrainerMixin, trl.DPOTrainer):
    pass


class BucketGRPOTrainer(BucketTrainerMixin, trl.GRPOTrainer):
    pass


class BucketRewardTrainer(BucketTrainerMixin, trl.RewardTrainer):
    pass


@dataclass
class BucketSFTConfig(BucketArguments, trl.SFTConfig):
    pass


@dataclass
class BucketDPOConfig(BucketArguments, trl.DPOConfig):
    pass


@dataclass
class BucketGRPOConfig(BucketArguments, trl.GRPOConfig):
    pass


@dataclass
class BucketRewardConfig(BucketArguments, trl.RewardConfig):
    pass


def number_of_words(completions, **_):
    return [float(len(completion.split())) for completion in completions]


def rows(*columns: str) -> Dataset:
    return Dataset.from_dict(
        {
            column: [tiny.sentence(index + 5 * place) + " " for index in range(32)]
            for place, column in enumerate(columns)
        }
    )


def arguments(config_class, output_dir, **flags):
    defaults = dict(
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        bf16=False,
        use_cpu=True,
        push_to_bucket=True,
        hub_always_push=True,
    )
    return config_class(output_dir=str(output_dir), **{**defaults, **flags})


def sft(output_dir, **flags):
    return BucketSFTTrainer(
        tiny.causal_lm(),
        args=arguments(BucketSFTConfig, output_dir, **flags),
        train_dataset=rows("text"),
        processing_class=tiny.tokenizer(),
    )


def dpo(output_dir, **flags):
    return BucketDPOTrainer(
        tiny.causal_lm(),
        ref_model=tiny.causal_lm(),
        args=arguments(BucketDPOConfig, output_dir, **flags),
        train_dataset=rows("prompt", "chosen", "rejected"),
        processing_class=tiny.tokenizer(),
    )


def grpo(output_dir, **flags):
    flags = dict(num_generations=2, max_completion_length=4, **flags)
    return BucketGRPOTrainer(
        tiny.causal_lm(),
        reward_funcs=number_of_words,
        args=arguments(BucketGRPOConfig, output_dir, **flags),
        train_dataset=rows("prompt"),
        processing_class=tiny.tokenizer(),
    )


def reward(output_dir, **flags):
    return BucketRewardTrainer(
        tiny.reward_model(),
        args=arguments(BucketRewardConfig, output_dir, **flags),
        train_dataset=rows("chosen", "rejected"),
        processing_class=tiny.tokenizer(),
    )


@pytest.mark.parametrize("trainer", [sft, dpo, grpo, reward])
def test_it_pushes_and_resumes_exactly_in_a_fresh_folder(bucket_id, tmp_path, trainer):
    whole = trainer(tmp_path / "whole", bucket_id=bucket_id)
    whole.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert {"model.safetensors", "tokenizer.json", "README.md"} <= root_files(bucket_id)

    resumed = trainer(tmp_path / "resumed", push_to_bucket=False)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")
    assert same_weights(resumed.model, whole.model)
