"""What DeepSpeed's settings say about who reads which shards."""

from types import SimpleNamespace

import pytest
from accelerate.utils.deepspeed import HfDeepSpeedConfig

from transformers_buckets.world_size import reads_own


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"zero_optimization": {"stage": 2}}, True),
        ({"zero_optimization": {"stage": 2, "elastic_checkpoint": True}}, False),
        ({"zero_optimization": {"stage": 2}, "checkpoint": {"load_universal": True}}, False),
    ],
)
def test_a_rank_reads_its_own_partition_unless_deepspeed_is_told_otherwise(config, expected):
    plugin = SimpleNamespace(hf_ds_config=HfDeepSpeedConfig(config))
    accelerator = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))

    assert reads_own(SimpleNamespace(is_deepspeed_enabled=True, accelerator=accelerator)) is expected


def test_without_deepspeed_there_is_nothing_to_ask():
    assert reads_own(SimpleNamespace(is_deepspeed_enabled=False))
