"""Amounts are written the same way everywhere."""

import re
from pathlib import Path

import pytest

import transformers_buckets
from transformers_buckets.bucket.units import count_text, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (54_500, "54.5 kB"), (98_000_000, "98.0 MB"), (110_200_000_000, "110.20 GB")],
)
def test_a_size_has_the_unit_that_shows_it(size, text):
    assert size_text(size) == text


def test_one_is_not_many():
    assert [count_text(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_nobody_else_writes_units():
    package = Path(transformers_buckets.__file__).parent
    files = set(package.rglob("*.py")) - set((package / "local_hub").rglob("*.py")) - {package / "bucket" / "units.py"}
    assert [str(file) for file in files if re.search(r"\} ?[kMGT]i?B\b", file.read_text(encoding="utf-8"))] == []
