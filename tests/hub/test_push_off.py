"""With buckets off, ours is the Trainer of transformers: same callbacks, same files, same traffic."""

import os
import re
from collections import Counter

import pytest
import transformers

from tests.training import digests, tiny_dataset, tiny_model
from transformers_buckets import Trainer, TrainingArguments


class Events(transformers.TrainerCallback):
    """Writes down every event."""

    def __init__(self):
        self.seen = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda args, state, control, **kwargs: self.seen.append((name, state.global_step))


def run(trainer_class, arguments_class, folder, hub, repo_id) -> dict:
    """Train, save, push; everything that somebody could notice about it."""
    events = Events()
    hub.clear_requests()
    trainer = trainer_class(
        model=tiny_model(),
        args=arguments_class(
            output_dir=str(folder),
            max_steps=2,
            save_steps=2,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            push_to_hub=True,
            hub_model_id=repo_id,
            hub_strategy="all_checkpoints",
            hub_always_push=True,
        ),
        train_dataset=tiny_dataset(),
        callbacks=[events],
    )
    trainer.train()
    trainer.save_model()
    lines = [request.line.replace(repo_id, "REPO") for request in hub.requests("/api/")]
    files = digests(folder)
    comparable = [name for name in files if re.search(r"safetensors|config|optimizer|scheduler|rng", name)]
    return {
        "callbacks": [type(callback) for callback in trainer.callback_handler.callbacks],
        "events": events.seen,
        "files": sorted(files),
        "contents": {name: files[name] for name in comparable},
        "traffic": Counter(re.sub("[0-9a-f]{40,64}", "HASH", line) for line in lines),
        "weights": trainer.state.log_history[-2]["loss"],
    }


@pytest.mark.parametrize(
    ("trainer_class", "arguments_class"),
    [(Trainer, TrainingArguments), (Trainer, transformers.TrainingArguments)],
    ids=["flag off", "plain arguments"],
)
def test_everything_is_as_in_transformers(hub, tmp_path, messages, trainer_class, arguments_class):
    plain = transformers.TrainingArguments
    theirs = run(transformers.Trainer, plain, tmp_path / "theirs", hub, f"demo/theirs-{os.urandom(4).hex()}")
    ours = run(trainer_class, arguments_class, tmp_path / "ours", hub, f"demo/ours-{os.urandom(4).hex()}")

    assert ours == theirs
    assert messages() == []
    assert not hub.requests("/api/buckets")


def test_buckets_are_off_by_default(tmp_path):
    assert TrainingArguments(output_dir=str(tmp_path)).push_to_bucket is False


def test_a_trainer_without_arguments_still_works(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert Trainer(model=tiny_model())._bucket_id is None
    assert hub.requests() == []
