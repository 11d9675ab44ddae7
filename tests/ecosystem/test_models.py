"""Models of many kinds: adapters, quantised and sharded ones, and what processes their inputs."""

import functools

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from tests.ecosystem import tiny
from tests.hub.contents import committed, root_files
from tests.training import same_weights, tiny_arguments, tiny_dataset, tiny_trainer
from transformers_buckets import CheckpointBucket, Trainer


def adapted(model):
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))


def push_then_resume(model, bucket_id, tmp_path):
    """A training that is pushed, and one that goes on from its first checkpoint in a fresh folder."""
    whole = tiny_trainer(tmp_path / "whole", model=model(), bucket_id=bucket_id, hub_always_push=True, max_steps=4)
    whole.train()
    resumed = tiny_trainer(tmp_path / "resumed", model=model(), push_to_bucket=False, max_steps=4)
    tiny.forget(resumed.model)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    return whole, resumed


def test_an_adapter_is_pushed_without_its_base_model(bucket_id, tmp_path):
    whole, resumed = push_then_resume(lambda: adapted(tiny.causal_lm()), bucket_id, tmp_path)

    files = CheckpointBucket(bucket_id).latest().manifest.files
    assert {"adapter_model.safetensors", "adapter_config.json"} <= files.keys() & root_files(bucket_id)
    assert "model.safetensors" not in files
    assert same_weights(resumed.model, whole.model)


def test_an_adapter_on_a_model_in_four_bits(bucket_id, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    torch.manual_seed(0)
    LlamaForCausalLM(tiny.config(hidden_size=64, intermediate_size=128)).save_pretrained(tmp_path / "base")
    in_four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")

    def model():
        base = AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=in_four_bits, device_map="cpu"
        )
        return adapted(base)

    whole, resumed = push_then_resume(model, bucket_id, tmp_path)

    assert "adapter_model.safetensors" in root_files(bucket_id)
    trained = [name for name, weights in whole.model.named_parameters() if weights.requires_grad]
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert trained and all(torch.equal(ours[name], theirs[name]) for name in trained)


def test_a_model_in_shards(bucket_id, tmp_path):
    def model():
        whole = tiny.causal_lm()
        whole.save_pretrained = functools.partial(whole.save_pretrained, max_shard_size="20KB")
        return whole

    whole, resumed = push_then_resume(model, bucket_id, tmp_path)

    files = CheckpointBucket(bucket_id).latest().manifest.files
    shards = {name for name in files if name.startswith("model-")}
    assert len(shards) > 1
    assert shards | {"model.safetensors.index.json"} <= root_files(bucket_id)
    assert same_weights(resumed.model, whole.model)


def image_processor():
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    return transformers.ViTImageProcessorPil()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (tiny.tokenizer, {"tokenizer.json", "tokenizer_config.json"}),
        (Wav2Vec2FeatureExtractor, {"preprocessor_config.json"}),
        (image_processor, {"preprocessor_config.json"}),
        (
            lambda: Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tiny.tokenizer()),
            {"processor_config.json", "tokenizer.json"},
        ),
    ],
    ids=["tokenizer", "feature extractor", "image processor", "processor"],
)
def test_what_processes_the_inputs_is_in_every_checkpoint_and_at_the_root(bucket_id, tmp_path, make, expected):
    trainer = Trainer(
        model=tiny.causal_lm(),
        args=tiny_arguments(tmp_path / "out", bucket_id=bucket_id, max_steps=1, save_steps=1),
        train_dataset=tiny_dataset(),
        data_collator=torch.utils.data.default_collate,
        processing_class=make(),
    )
    trainer.train()

    assert expected <= CheckpointBucket(bucket_id).latest().manifest.files.keys() & root_files(bucket_id)
