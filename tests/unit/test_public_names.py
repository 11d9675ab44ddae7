"""What `from transformers_buckets import ...` offers."""

import ast
from pathlib import Path

import pytest

import transformers_buckets


def test_a_type_checker_sees_what_can_be_imported():
    """The names are imported on first use, which it cannot follow: it reads the block that is for it alone."""
    tree = ast.parse(Path(transformers_buckets.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == transformers_buckets._HOME_OF


@pytest.mark.parametrize("name", transformers_buckets.__all__)
def test_every_name_can_be_imported(name):
    assert getattr(transformers_buckets, name).__name__ == name
