"""The recipes for what comes after a training: run as they stand, on the local Hub, each in a folder of its own."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.hub.checkpoints import write_checkpoint
from tests.hub.contents import committed, repo_files
from tests.test_docs import code_blocks
from tests.test_docs import run as run_block
from tests.training import tiny_arguments, tiny_dataset, tiny_model
from transformers_buckets import BucketPushError, CheckpointBucket, Trainer
from transformers_buckets.cli import main


RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"
EVAL = "import argparse, os; p = argparse.ArgumentParser(); p.add_argument('--model'); p.add_argument('--step'); "
EVAL += "a = p.parse_args(); open('log', 'a').write(a.step + ' ' + ' '.join(os.listdir(a.model)) + chr(10))"


def recipe(heading: str, language: str, tmp_path: Path) -> list[str]:
    """The blocks of a language below a heading."""
    page = tmp_path / "recipe.md"
    page.write_text(re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", RECIPES.read_text(), re.M | re.S)[1])
    return code_blocks(page, language)


def command(block: str, bucket_id: str) -> int:
    """Run a block that is one call of `transformers-buckets`, for a bucket and a repo of its own."""
    name, *arguments = shlex.split(block.replace("\\\n", " "))
    assert name == "transformers-buckets"
    meant = {
        "my-org/my-run": bucket_id,
        "my-org/my-model": f"{bucket_id}-model",
        "python": sys.executable,
        "7200": "0",
    }
    for old, new in meant.items():
        arguments = [argument.replace(old, new) for argument in arguments]
    return main(arguments)


@pytest.fixture
def trained(bucket_id, tmp_path, monkeypatch) -> CheckpointBucket:
    """A run with losses, and a folder to be in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run, history = CheckpointBucket(bucket_id), []
    run.create()
    for step, loss in {500: 1.0, 1000: 5.0, 1500: 4.0, 2000: 2.0, 2500: 3.0, 3000: 6.0, 3100: 7.0, 3200: 8.0}.items():
        folder = write_checkpoint(tmp_path / f"checkpoint-{step}", best="checkpoint-500", sizes=SMALL)
        history.append({"eval_loss": loss, "step": step})
        state = json.loads((folder / "trainer_state.json").read_text())
        (folder / "trainer_state.json").write_text(json.dumps({**state, "log_history": history}))
        run.push(folder)
    return run


SMALL = {"model.safetensors": 1000, "optimizer.pt": 1000, "rng_state.pth": 100}


def test_evaluate_each_checkpoint(trained, bucket_id, tmp_path):
    Path("eval.py").write_text(EVAL)
    (block,) = recipe("Evaluate each checkpoint", "bash", tmp_path)

    assert command(block, bucket_id) == 0
    lines = Path("log").read_text().splitlines()
    assert lines == [f"{checkpoint.step} model.safetensors" for checkpoint in trained.committed()]

    (python,) = recipe("Evaluate each checkpoint", "python", tmp_path)
    evaluated = []
    (tmp_path / "checkpoint-3300").mkdir()
    trained.push(write_checkpoint(tmp_path / "checkpoint-3300", sizes=SMALL))
    namespace = {"evaluate": lambda path, step: evaluated.append((path.name, step))}
    exec(python.replace("my-org/my-run", bucket_id).replace("7200", "0"), namespace)
    assert evaluated == [("checkpoint-3300", 3300)]


def test_release_the_best_checkpoint(trained, bucket_id, tmp_path):
    promote, pull = recipe("Release the best checkpoint", "bash", tmp_path)
    (python,) = recipe("Release the best checkpoint", "python", tmp_path)

    assert command(promote, bucket_id) == 0
    assert repo_files(f"{bucket_id}-model") == {".gitattributes", "README.md", "model.safetensors"}
    meant = python.replace("my-org/my-run", bucket_id).replace("my-org/my-model", f"{bucket_id}-again")
    exec(meant, {})
    assert repo_files(f"{bucket_id}-again") == {".gitattributes", "README.md", "model.safetensors"}
    assert command(pull, bucket_id) == 0
    assert [str(file) for file in Path("models").rglob("*.safetensors")] == ["models/checkpoint-500/model.safetensors"]


@pytest.mark.parametrize("language", ["bash", "python"])
def test_keep_some_delete_the_rest(trained, bucket_id, tmp_path, language):
    block, *rest = recipe("Keep some, delete the rest", language, tmp_path)

    if language == "bash":
        assert command(block, bucket_id) == 0
    else:
        exec(block.replace("my-org/my-run", bucket_id), {})
    assert [checkpoint.step for checkpoint in trained.committed()] == [500, 1000, 2000, 2500, 3000, 3100, 3200]
    for block in rest:
        assert command(block, bucket_id) == 0
        assert committed(bucket_id) == []


@pytest.mark.slow
def test_exit_codes_for_schedulers_that_start_again(bucket_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = recipe("Exit codes for schedulers that start again", "python", tmp_path)
    args = tiny_arguments("out", bucket_id=bucket_id, max_steps=1)
    namespace = {"model": tiny_model(), "train_dataset": tiny_dataset(8), "args": args}

    class Stopped(Trainer):
        def train(self, *args, **kwargs):
            super().train(*args, **kwargs)
            self.preempted = True  # what makes it so is tested with real signals

    with pytest.raises(SystemExit) as stopped:
        exec(block, {**namespace, "Trainer": Stopped})
    assert stopped.value.code == 75
    exec(block, {**namespace, "Trainer": Trainer})
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.slow
def test_no_disk(bucket_id, tmp_path, monkeypatch):
    (block,) = recipe("No disk", "python", tmp_path)
    for folder in ("first", "second"):
        namespace = {"model": tiny_model(), "train_dataset": tiny_dataset(8)}
        short = block.replace("/tmp/out", f"{tmp_path}/{folder}").replace(
            "save_steps=100", "save_steps=1, max_steps=2"
        )
        exec(short.replace("my-org/my-run", bucket_id).replace("keep_local", "report_to=[], keep_local"), namespace)

        assert committed(bucket_id) == ["checkpoint-1", "checkpoint-2"]
        assert not list((tmp_path / folder).glob("checkpoint-*"))


def test_tell_somebody_of_each_commit(bucket_id, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = recipe("Tell somebody of each commit", "python", tmp_path)
    namespace = {"model": tiny_model(), "train_dataset": tiny_dataset(8)}

    block = block.replace('"out"', '"out", max_steps=1, use_cpu=True, report_to=[]')
    exec(block.replace("my-org/my-run", bucket_id), namespace)

    assert f"hf://buckets/{bucket_id}/checkpoint-1 is there: " in capsys.readouterr().out


def test_when_the_last_push_fails(hub, bucket_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = recipe("When the last push fails", "python", tmp_path)
    namespace = {"model": tiny_model(), "train_dataset": tiny_dataset(8)}
    hub.fault("POST /v1/xorbs/", status=403, times=None, skip=1)  # the run is begun, its checkpoint is refused

    with pytest.raises(BucketPushError):
        run_block(block.replace('"out"', '"out", max_steps=1, use_cpu=True, report_to=[]'), bucket_id, namespace)
    assert (tmp_path / "out" / "train_results.json").is_file()
