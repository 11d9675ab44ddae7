"""`async_save` and everything that is live: what is committed is what an ordinary save of that step would have written."""

from functools import partial

import peft
import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from transformers import TrainerCallback

from tests.hub.callbacks import At
from tests.hub.held_writer import hold_writer
from tests.training import digests, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import CheckpointBucket


STEP = 3  # the one that is compared; two more are made before a byte of it is written


@pytest.fixture
def late_writer(mocker):
    """A callback. The writer does nothing before it has seen two more steps."""
    go_on = hold_writer(mocker)
    return At(on_step_end=lambda state: go_on.set() if state.global_step >= STEP + 2 else None)


@pytest.fixture
def is_the_same(bucket_id, tmp_path, late_writer, messages):
    """Trains as usual and with a late writer, and compares what the first left on disk with what the second committed."""

    def compare(make, callback=lambda: [], as_usual=None, **arguments):
        arguments = dict(save_steps=STEP, **arguments)
        plain = make(tmp_path / "plain", push_to_bucket=False, callbacks=callback(), **arguments)
        plain.train()
        staged = make(
            tmp_path / "staged",
            bucket_id=bucket_id,
            async_save=True,
            hub_always_push=True,
            callbacks=[*callback(), late_writer],
            **arguments,
        )
        staged.train()
        said = [line for line in messages() if "async_save=True has no effect" in line]
        assert len(said) == (as_usual is not None) and all(as_usual in line for line in said)
        committed = CheckpointBucket(bucket_id).pull(f"checkpoint-{STEP}", tmp_path / "pulled")
        ours, theirs = digests(committed), digests(tmp_path / "plain" / f"checkpoint-{STEP}")
        assert ours.keys() == theirs.keys()
        named = {"training_args.bin", "trainer_state.json", "README.md"}  # folders and times differ
        assert {path for path in ours if ours[path] != theirs[path]} <= named
        return committed

    return compare


def a_trainer(make_model):
    return lambda output_dir, **arguments: tiny_trainer(output_dir, model=make_model(), **arguments)


class Teacher(TrainerCallback):
    """A mean of the weights, kept in parameters that nobody trains."""

    def on_step_end(self, args, state, control, model, **kwargs):
        with torch.no_grad():
            model.teacher.mul_(0.5).add_(model.lm_head.weight, alpha=0.5)
            model.codebook.add_(1)


def with_teacher():
    model = tiny_model()
    model.teacher = torch.nn.Parameter(model.lm_head.weight.detach().clone(), requires_grad=False)
    model.register_buffer("codebook", torch.zeros(8))
    return model


def test_frozen_parameters_and_buffers_that_change_anyway(is_the_same):
    is_the_same(a_trainer(with_teacher), callback=lambda: [Teacher()])


class Unfreeze(TrainerCallback):
    def on_step_end(self, args, state, control, model, **kwargs):
        model.model.requires_grad_(state.global_step >= STEP)


def half_frozen():
    model = tiny_model()
    model.model.requires_grad_(False)
    return model


def test_gradual_unfreezing(is_the_same):
    is_the_same(a_trainer(half_frozen), callback=lambda: [Unfreeze()])


ADAPTERS = {
    "LoRA": lambda: peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "AdaLoRA": lambda: peft.AdaLoraConfig(
        target_r=2, init_r=4, total_step=6, tinit=1, tfinal=1, target_modules=["q_proj"], task_type="CAUSAL_LM"
    ),
    "prompt tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    "p-tuning": lambda: peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16, task_type="CAUSAL_LM"),
    "prefix tuning": lambda: peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters(is_the_same, kind):
    def model():
        base = tiny_model()
        torch.manual_seed(1)
        return peft.get_peft_model(base, ADAPTERS[kind]())

    committed = is_the_same(a_trainer(model), learning_rate=0.1)
    assert (committed / "adapter_model.safetensors").exists() and not (committed / "model.safetensors").exists()


def test_a_tied_model_in_shards(is_the_same, mocker):
    split = partial(split_torch_state_dict_into_shards, max_shard_size="20KB")
    mocker.patch(
        "transformers.modeling_utils.split_torch_state_dict_into_shards",
        lambda state, filename_pattern, max_shard_size: split(state, filename_pattern=filename_pattern),
    )
    committed = is_the_same(a_trainer(lambda: tiny_model(tie_word_embeddings=True)))
    assert len(list(committed.glob("model-*.safetensors"))) > 1


def test_a_module_of_plain_torch(is_the_same):
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny_model()

        def forward(self, input_ids, labels):
            return self.inner(input_ids=input_ids, labels=labels)

        def state_dict(self):
            return super().state_dict()  # and takes no `keep_vars`

    is_the_same(a_trainer(Plain))


def test_extra_state_that_is_no_tensor_is_told_as_ever(bucket_id, tmp_path):
    class Extra(torch.nn.Module):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            pass

    def error(**arguments):
        model = tiny_model()
        model.extra = Extra()
        with pytest.raises(Exception) as raised:
            tiny_trainer(tmp_path / "out", model=model, **arguments).train()
        return type(raised.value), str(raised.value)

    assert error(bucket_id=bucket_id, async_save=True) == error(push_to_bucket=False)


class Eighth(torch.Tensor):
    """A tensor that is not what its storage says, as those of quantised optimizers."""


class InAClassOfItsOwn(torch.optim.SGD):
    """Keeps what it has seen in a tensor subclass."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["seen"] = state.get("seen", torch.zeros_like(parameter)) + parameter.grad
            state["seen"] = state["seen"].as_subclass(Eighth)


def with_optimizer(make_optimizer):
    def make(output_dir, **arguments):
        trainer = tiny_trainer(output_dir, **arguments)
        trainer.optimizer = make_optimizer(trainer.model.parameters())
        return trainer

    return make


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: InAClassOfItsOwn(parameters, lr=0.1, momentum=0.9),
        lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(0.01), amsgrad=True),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: torch.optim.Adafactor(parameters),
    ],
    ids=["tensor subclass", "lr is a tensor", "no state", "Adafactor"],
)
def test_optimizers(is_the_same, optimizer):
    is_the_same(with_optimizer(optimizer))


def test_what_cannot_be_copied_is_written_at_once_and_told_once(bucket_id, tmp_path, messages, mocker):
    mocker.patch("transformers_buckets.saving.snapshot._LARGE", 1024)
    make = with_optimizer(lambda parameters: InAClassOfItsOwn(parameters, lr=0.1))
    make(tmp_path, bucket_id=bucket_id, async_save=True).train()

    assert sum("optimizer.pt holds what cannot be copied in memory" in line for line in messages()) == 1


@pytest.mark.parametrize("enabled", [False, True])
def test_a_gradient_scaler(is_the_same, enabled):
    def make(output_dir, **arguments):
        trainer = tiny_trainer(output_dir, **arguments)
        trainer.accelerator.scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        return trainer

    committed = is_the_same(make)
    assert (committed / "scaler.pt").exists()


def test_a_model_with_a_save_pretrained_of_its_own_is_saved_as_usual(is_the_same):
    class Own(type(tiny_model())):
        def save_pretrained(self, folder, **kwargs):
            super().save_pretrained(folder, **kwargs)
            open(f"{folder}/model.safetensors", "rb").close()  # reads what it wrote

    def model():
        model = tiny_model()
        model.__class__ = Own
        return model

    is_the_same(a_trainer(model), as_usual="as usual: Own has its own save_pretrained")


def test_the_best_checkpoint_is_where_it_is_going_to_be(bucket_id, tmp_path, late_writer):
    trainer = tiny_trainer(
        tmp_path,
        bucket_id=bucket_id,
        async_save=True,
        save_steps=STEP,
        eval_strategy="steps",
        eval_steps=STEP,
        load_best_model_at_end=True,
        eval_dataset=tiny_dataset(8),
        callbacks=[late_writer],
    )
    trainer.train()

    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-6")
    pulled = CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "pulled")
    assert f'"best_model_checkpoint": "{tmp_path / "checkpoint-6"}"' in (pulled / "trainer_state.json").read_text()


def test_another_working_directory_changes_nothing(is_the_same, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    move = At(on_step_end=lambda state: monkeypatch.chdir(tmp_path / "elsewhere"))
    is_the_same(a_trainer(tiny_model), callback=lambda: [move])
    assert not any((tmp_path / "elsewhere").iterdir())
