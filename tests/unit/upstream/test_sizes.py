"""Pull request 1 stays small enough to be read, on the transformers that is installed."""

import importlib.util
import io
import tokenize
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from upstream.__main__ import FACE, MOST_ADDED, MOST_CODE, MOST_REMOVED, main
from upstream.assemble import assembled
from upstream.code import code_lines
from upstream.edits import EDITS
from upstream.pull_request_1 import LEFT_OUT, PARTS
from upstream.series import PACKAGE, series
from upstream.tree import Tree


INSTALLED = Path(importlib.util.find_spec("transformers").origin).parent


@pytest.fixture(scope="module")
def module() -> str:
    return assembled(PACKAGE, PARTS, LEFT_OUT, FACE)


def test_code_is_counted_without_blank_lines_comments_and_docstrings():
    assert code_lines('"""Doc."""\n\n# Why.\nx = """a\nb"""\n\n\ndef f():\n    """Doc."""\n    return x\n') == 4


def test_existing_files_are_changed_a_little(module):
    counts = Tree.of(INSTALLED, EDITS, {}).counts().values()

    assert sum(added for added, _ in counts) <= MOST_ADDED
    assert sum(removed for _, removed in counts) <= MOST_REMOVED


def test_the_new_module_is_small_and_uses_public_names_of_the_client_alone(module):
    compile(module, "hf_buckets.py", "exec")
    names = {token.string for token in tokenize.generate_tokens(io.StringIO(module).readline)}
    hidden = {name for name in vars(HfApi) if name.startswith("_") and not name.startswith("__")}

    assert code_lines(module) <= MOST_CODE
    assert not names & hidden
    assert "transformers_buckets" not in names
    assert not [line for line in module.splitlines() if "huggingface_hub._" in line]


def test_the_series_is_the_package_as_it_is():
    files = series()

    assert files["bucket/manifest.py"] == (PACKAGE / "bucket" / "manifest.py").read_text()
    assert "trainer.py" not in files
    assert not [path for path, text in files.items() if "transformers.Trainer(" in text]


def test_a_transformers_that_has_changed_is_named(tmp_path, capsys):
    (tmp_path / "__init__.py").write_text('__version__ = "9.0"\n')
    for file in ("trainer.py", "training_args.py"):
        text = (INSTALLED / file).read_text().replace("with ctx:", "with context:")
        (tmp_path / file).write_text(text)

    assert main(["--transformers", str(tmp_path), "--build", str(tmp_path / "build")]) == 1
    assert "trainer.py, Trainer.train: the anchor 'with ctx:' is missing" in capsys.readouterr().err
