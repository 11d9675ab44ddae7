"""What a model is, by the names of the files in a checkpoint."""

import pytest

from transformers_buckets.bucket.contents import may_hold_weights, model_files, replaced_files, vital_files


STATE = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"]


@pytest.mark.parametrize(
    ("model", "other"),
    [
        (
            ["model.safetensors", "config.json", "spiece.model", "processor_config.json", "chat_template.jinja"],
            ["x.pt"],
        ),
        (
            ["model.safetensors", "modules.json", "1_Router/query_0_Words/words.txt", "1_Router/config.json"],
            ["logs/x.txt"],
        ),
        (
            ["a/adapter_config.json", "a/adapter_model.safetensors", "adapter_model.bin"],
            ["a/optimizer.pt", "code/a.py"],
        ),
        (
            ["pytorch_model.bin", "value_head.bin", "qwen.tiktoken", "configuration_mine.py"],
            ["model.log", "b.csv", "c.bin"],
        ),
    ],
)
def test_the_model_is_known_by_its_names_and_folders(model, other):
    assert model_files([*STATE, *other, *model]) == model
    assert not may_hold_weights([*STATE, *other, *model])


def test_a_model_whose_weights_nobody_knows_is_all_but_the_state():
    assert model_files([*STATE, "weights.pt", "config.json", "layers/1.pt"]) == [
        "weights.pt",
        "config.json",
        "layers/1.pt",
    ]


def test_beside_shards_is_what_tells_what_they_are_of():
    shards = [
        "pytorch_model_fsdp_0/.metadata",
        "pytorch_model_fsdp_0/__0_0.distcp",
        "global_step4/mp_rank_00_model_states.pt",
    ]

    assert model_files([*STATE, *shards, "config.json", "mine.pt"]) == ["config.json"]
    assert may_hold_weights([*shards[:2], "config.json"]) and may_hold_weights([shards[2]])


def test_what_a_callback_adds_is_no_part_of_the_model_and_nothing_depends_on_it():
    assert vital_files(["model.safetensors", "mine.pt", "training_args.bin", "optimizer.pt"]) == [
        "model.safetensors",
        "optimizer.pt",
    ]


def test_weights_without_a_configuration_leave_the_one_that_is_there():
    there = [
        "config.json",
        "tokenizer.json",
        "pytorch_model.bin",
        "flax_model.msgpack",
        "model.gguf",
        "1_Pooling/config.json",
    ]

    assert replaced_files(there, ["model.safetensors"]) == ["flax_model.msgpack", "pytorch_model.bin"]
