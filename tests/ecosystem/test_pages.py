"""Recipes that run, messages that are real, a reference that is up to date."""

import ast
import re
import sys
import types
from dataclasses import fields
from pathlib import Path

import pytest

from tests.ecosystem import reference, tiny
from tests.hub.contents import committed
from tests.test_docs import code_blocks, run
from tests.training import tiny_dataset, tiny_model
from transformers_buckets import TrainingArguments


ROOT = Path(__file__).parents[2]
RECIPES, TROUBLESHOOTING = ROOT / "docs" / "recipes.md", ROOT / "docs" / "troubleshooting.md"
# What the scripts in the commands define themselves.
FLAGS_OF_SCRIPTS = {"epochs", "train_file", "tokenizer_name", "config_name", "model_name_or_path", "dataset_name"}


def texts_in_source() -> list[str]:
    """Every text in the package but the local Hub, with `…` for what is filled in."""
    package, texts = ROOT / "transformers_buckets", []
    for file in set(package.rglob("*.py")) - set((package / "local_hub").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_the_reference_is_up_to_date():
    assert reference.PAGE.read_text() == reference.page(), "python -m tests.ecosystem.reference"


def test_every_message_explained_is_one_of_ours():
    texts = texts_in_source()
    explained = re.findall(r"^### `(.*)`$", TROUBLESHOOTING.read_text(), re.M)
    assert len(explained) > 30
    assert [message for message in explained if not any(message in text for text in texts)] == []


def test_the_flags_in_commands_exist():
    known = {field.name for field in fields(TrainingArguments)} | FLAGS_OF_SCRIPTS
    commands = [block for block in code_blocks(RECIPES, "bash") if "transformers_buckets run" in block]
    given = {
        flag
        for block in commands
        for command in re.findall(r"transformers_buckets run(?:.*\\\n)*.*", block)
        for flag in re.findall(r"--(\w+)", command)
    }
    assert {"push_to_bucket", "enable_jit_checkpoint"} <= given <= known


def test_every_recipe_says_whether_it_was_run():
    recipes = re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", RECIPES.read_text(), re.M)

    assert len(recipes) > 15
    assert [name for name, text in recipes if "`tests/" not in text and "*Not run*" not in text] == []


def test_the_recipe_for_a_notebook_runs_twice(bucket_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (recipe,) = [block for block in code_blocks(RECIPES, "python") if "not on Drive" in block]
    for folder in ("out", "second"):
        namespace = {"model": tiny_model(), "train_dataset": tiny_dataset()}
        run(recipe.replace('"out"', f'"{folder}"').replace("save_steps=100", "save_steps=12"), bucket_id, namespace)

    assert committed(bucket_id)[-1] == "checkpoint-24"
    assert (tmp_path / "second" / "checkpoint-24").is_dir()  # pulled: nothing was left to train


def test_the_recipe_for_trl_runs(bucket_id, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    from datasets import Dataset

    monkeypatch.chdir(tmp_path)
    tiny.causal_lm().save_pretrained("tiny-llama")
    tiny.tokenizer().save_pretrained("tiny-llama")
    (recipe,) = [block for block in code_blocks(RECIPES, "python") if "trl" in block]
    rows = Dataset.from_dict({"text": [tiny.sentence(index) for index in range(16)]})
    # Its classes are pickled by name, so they have to live in a module, as those of a script do.
    script = types.ModuleType("script_of_the_recipe")
    monkeypatch.setitem(sys.modules, script.__name__, script)
    script.train_dataset = rows
    recipe = recipe.replace("Qwen/Qwen3-0.6B", "tiny-llama")
    run(recipe.replace('"out"', '"out", max_steps=1, use_cpu=True, bf16=False'), bucket_id, vars(script))

    assert committed(bucket_id) == ["checkpoint-1"]
