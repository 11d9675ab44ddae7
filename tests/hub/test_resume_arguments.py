"""Arguments that bear on a resume mean the same whether the checkpoint is local or comes from a bucket."""

import pytest
import torch
import transformers

from tests.hub.test_resume_matrix import logs
from tests.slow import quick_only
from tests.training import same_weights, tiny_model, tiny_trainer


class SmallMemory(transformers.LlamaForCausalLM):
    """A model on a device with room for two examples."""

    def forward(self, input_ids=None, labels=None, **kwargs):
        if len(input_ids) > 2:
            raise RuntimeError("CUDA out of memory.")
        return super().forward(input_ids, labels=labels, **kwargs)


def small_memory():
    model = tiny_model()
    model.__class__ = SmallMemory
    return model


def outcome(trainer, resume_from_checkpoint):
    """How a resume ends: what was logged, or the error."""
    try:
        trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    except Exception as error:
        return type(error)
    return logs(trainer)


CASES = {
    "ignore_data_skip": (dict(ignore_data_skip=True), tiny_model),
    "auto_find_batch_size": (dict(auto_find_batch_size=True), small_memory),
    "save_only_model": (dict(save_only_model=True), tiny_model),
    "resumed at the end": (dict(max_steps=4), tiny_model),
    "another learning rate": (dict(learning_rate=0.1), tiny_model),
}


@pytest.mark.parametrize("name", quick_only(CASES, "ignore_data_skip", "save_only_model"))
def test_as_with_a_local_checkpoint(name, bucket_id, tmp_path):
    arguments, model = CASES[name]
    saved = {"save_only_model": arguments.get("save_only_model", False), "auto_find_batch_size": model is small_memory}
    tiny_trainer(tmp_path / "first", model=model(), bucket_id=bucket_id, max_steps=4, **saved).train()
    local = tiny_trainer(tmp_path / "a", transformers.Trainer, model(), push_to_bucket=False, **arguments)
    pulled = tiny_trainer(tmp_path / "b", model=model(), push_to_bucket=False, **arguments)

    as_local = outcome(local, str(tmp_path / "first" / "checkpoint-4"))

    assert outcome(pulled, f"hf://buckets/{bucket_id}") == as_local != []
    assert same_weights(pulled.model, local.model)
    assert pulled._train_batch_size == local._train_batch_size == (4 if model is tiny_model else 2)


def test_a_model_only_checkpoint_comes_without_optimizer(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "first", bucket_id=bucket_id, max_steps=2, save_only_model=True).train()
    resumed = tiny_trainer(tmp_path / "second", bucket_id=bucket_id, save_only_model=True)

    resumed.train(resume_from_checkpoint="auto")

    assert resumed.state.global_step == 6
    assert not (tmp_path / "second" / "checkpoint-2" / "optimizer.pt").exists()
    assert torch.isfinite(torch.tensor([log["loss"] for log in logs(resumed)])).all()
