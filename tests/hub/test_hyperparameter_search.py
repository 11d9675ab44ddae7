"""Trials of a hyperparameter search are runs of their own, side by side in one bucket."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from tests.hub.contents import bucket_files, committed
from tests.training import digests, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import CheckpointBucket


class TrialPruned(Exception):
    """As in optuna."""


class Trial:
    """A trial that draws its learning rate by its number, and may be pruned at its second report."""

    def __init__(self, number: int, prune: bool):
        self.number, self.prune = number, prune
        self.params = {"learning_rate": 10.0 ** -(number + 1)}
        self.study = SimpleNamespace(_is_multi_objective=lambda: False)
        self.reports: list[float] = []

    def report(self, objective: float, step: int) -> None:
        self.reports.append(objective)

    def should_prune(self) -> bool:
        return self.prune and len(self.reports) == 2


class Study:
    """As much of an optuna study as transformers asks for."""

    pruned: set[int] = set()

    def optimize(self, objective, n_trials, **kwargs):
        self.trials = [Trial(number, number in self.pruned) for number in range(n_trials)]
        for trial in self.trials:
            try:
                trial.value = objective(trial)
            except TrialPruned:
                trial.value = float("inf")
        self.best_trial = min(self.trials, key=lambda trial: trial.value)

    def _is_multi_objective(self) -> bool:
        return False


@pytest.fixture
def optuna(monkeypatch):
    """`optuna` itself, as far as transformers can tell."""
    module = ModuleType("optuna")
    module.__spec__ = ModuleSpec("optuna", loader=None)
    module.TrialPruned, module.Trial, module.trial = TrialPruned, Trial, SimpleNamespace(BaseTrial=Trial)
    module.create_study = lambda **kwargs: Study()
    monkeypatch.setitem(sys.modules, "optuna", module)
    return module


def search(output_dir, bucket_id, n_trials=2, **arguments):
    trainer = tiny_trainer(
        output_dir,
        bucket_id=bucket_id,
        max_steps=4,
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=2,
        **arguments,
    )
    trainer.model_init = lambda: tiny_model()
    best = trainer.hyperparameter_search(
        lambda trial: trial.params, lambda metrics: metrics["eval_loss"], n_trials, backend="optuna"
    )
    return trainer, best


def test_trials_keep_apart(optuna, bucket_id, tmp_path):
    search(tmp_path / "out", bucket_id, hub_always_push=True, bucket_total_limit=1)

    for run in ("run-0", "run-1"):
        assert committed(f"{bucket_id}/{run}") == ["checkpoint-4"], "the limit is that of each trial"
        pulled = CheckpointBucket(f"{bucket_id}/{run}").pull("checkpoint-4", tmp_path / "pulled" / run)
        assert digests(pulled) == digests(tmp_path / "out" / run / "checkpoint-4")
        assert f"{run}/model.safetensors" in bucket_files(bucket_id)
    assert committed(bucket_id) == []
    assert "model.safetensors" not in bucket_files(bucket_id)


def test_a_pruned_trial_leaves_nothing_hanging(optuna, bucket_id, tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "pruned", {0})
    trainer, best = search(tmp_path / "out", bucket_id)

    assert best.run_id == "1"
    assert committed(f"{bucket_id}/run-0") == ["checkpoint-2"]
    assert committed(f"{bucket_id}/run-1")[-1] == "checkpoint-4"
    assert trainer._bucket.uploader.is_idle
    assert not (tmp_path / "out" / "_bucket" / "outbox").exists()
