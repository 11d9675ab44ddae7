"""What a trainer state knows of evaluations."""

import json

import pytest

from transformers_buckets.bucket.metrics import evaluations


def test_the_metrics_of_every_evaluation_by_step():
    history = [
        {"loss": 2.5, "step": 5},
        {"eval_loss": 2.0, "eval_name": "x", "step": 10},
        {"eval_second_loss": 4, "step": 10},
        {"eval_loss": float("nan"), "step": 15},
        {"eval_loss": 1.0, "eval_runtime": 2.0, "eval_steps_per_second": 3.0, "step": 20},
    ]

    assert evaluations(json.dumps({"log_history": history})) == {
        10: {"eval_loss": 2.0, "eval_second_loss": 4},
        20: {"eval_loss": 1.0},
    }


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"log_history": 1}', '{"log_history": [1]}', '{"log_history": [{"eval_loss": 1}]}', b"\xff"],
)
def test_what_is_not_a_trainer_state_has_none(content):
    assert evaluations(content) == {}
