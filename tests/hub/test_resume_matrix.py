"""Interrupted, then resumed from the bucket on an empty disk, is the same as never interrupted: bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import transformers
from peft import LoraConfig, get_peft_model

from tests.hub.callbacks import At
from tests.slow import quick_only
from tests.training import same_weights, tiny_arguments, tiny_dataset, tiny_model
from transformers_buckets import Trainer


@dataclass
class Case:
    """A way to train, and where that ends; it is interrupted after step 5 and goes on from step 4."""

    arguments: dict = field(default_factory=dict)
    model: Callable = tiny_model
    callbacks: Callable[[], list] = list
    examples: int = 64
    ends: int = 6
    best: int | None = None


def lora():
    config = LoraConfig(r=4, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return get_peft_model(tiny_model(), config)


EVALUATING = dict(eval_strategy="steps", eval_steps=2, metric_for_best_model="loss", greater_is_better=False)
WORSENING = dict(learning_rate=0.5, lr_scheduler_type="constant_with_warmup", warmup_steps=20)
CASES = {
    "plain": Case(),
    "gradient accumulation": Case(dict(gradient_accumulation_steps=3)),
    "gradient checkpointing": Case(dict(gradient_checkpointing=True)),
    "in the middle of a shuffled epoch, with workers": Case(dict(dataloader_num_workers=2), examples=12),
    "dropout": Case(model=lambda: tiny_model(attention_dropout=0.3)),
    "save at every epoch": Case(dict(save_strategy="epoch", max_steps=-1, num_train_epochs=3), examples=16, ends=12),
    "save what is best": Case(dict(save_strategy="best", **EVALUATING), best=6),
    "load the best at the end": Case(dict(load_best_model_at_end=True, **EVALUATING, **WORSENING), best=2),
    "early stopping": Case(
        dict(
            max_steps=20,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # without it transformers forgets how patient it has been
            **EVALUATING,
            **WORSENING,
        ),
        callbacks=lambda: [transformers.EarlyStoppingCallback(early_stopping_patience=3)],
        ends=8,
        best=2,
    ),
    "cosine with warm-up": Case(dict(lr_scheduler_type="cosine", warmup_steps=2)),
    "LoRA": Case(model=lora),
}


def trainer_of(case: Case, output_dir, trainer_class=Trainer, callbacks=(), **arguments) -> Trainer:
    return trainer_class(
        model=case.model(),
        args=tiny_arguments(output_dir, **{**case.arguments, **arguments}),
        train_dataset=tiny_dataset(case.examples),
        eval_dataset=tiny_dataset(8),
        callbacks=[*case.callbacks(), *callbacks],
    )


def logs(trainer) -> list[dict]:
    """What was logged, without clocks and without the summary of one call of `train()`."""
    return [
        {name: value for name, value in log.items() if not name.endswith(("_runtime", "_per_second"))}
        for log in trainer.state.log_history
        if "train_runtime" not in log
    ]


def die(state) -> None:
    if state.global_step == 5:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "name",
    quick_only(CASES, "plain", "dropout", "load the best at the end"),
)
def test_resumed_is_as_if_never_interrupted(name, bucket_id, tmp_path):
    case = CASES[name]
    whole = trainer_of(case, tmp_path / "whole", push_to_bucket=False)
    whole.train()

    with pytest.raises(KeyboardInterrupt):
        trainer_of(case, tmp_path / "first", callbacks=[At(on_step_end=die)], bucket_id=bucket_id).train()
    begun = At(on_train_begin=lambda state: begun.__dict__.update(step=state.global_step))
    resumed = trainer_of(case, tmp_path / "second", callbacks=[begun], push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}")

    assert begun.step == 4
    assert logs(resumed) == logs(whole)
    assert same_weights(resumed.model, whole.model)
    for trainer in (whole, resumed):
        assert (trainer.state.global_step, trainer.state.best_global_step) == (case.ends, case.best)


def test_a_loss_averaged_over_the_interruption_is_that_of_a_local_resume(bucket_id, tmp_path):
    """Transformers does not save the losses since the last log. The weights are exact all the same."""
    case = Case(dict(logging_steps=3))
    whole = trainer_of(case, tmp_path / "whole", bucket_id=bucket_id, hub_always_push=True)
    whole.train()
    local = trainer_of(case, tmp_path / "local", transformers.Trainer, push_to_bucket=False)
    local.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))

    resumed = trainer_of(case, tmp_path / "second", push_to_bucket=False)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-4")

    assert logs(resumed) == logs(local) != logs(whole)
    assert same_weights(resumed.model, whole.model)
