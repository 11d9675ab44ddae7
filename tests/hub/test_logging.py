"""Messages go where a user of `logging` expects them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def said(code: str, **environment: str) -> str:
    """What a process that logs a few messages of this package leaves on standard error, which is no terminal here."""
    source = f"""
import logging
{code}
import transformers_buckets
for level in ("debug", "info", "warning"):
    getattr(logging.getLogger("transformers_buckets.saving"), level)("a message of level %s", level)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    return subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, check=True).stderr


def test_without_configuration_lines_say_who_when_and_how_bad():
    lines = said("").splitlines()

    assert len(lines) == 2
    assert lines[0].startswith("[buckets] 2") and lines[0].endswith("INFO a message of level info")
    assert lines[1].endswith("WARNING a message of level warning")


def test_a_configuration_of_the_user_counts_and_nothing_is_said_twice():
    told = said("logging.basicConfig(format='mine: %(levelname)s %(message)s', level='INFO')")

    assert told == "mine: INFO a message of level info\nmine: WARNING a message of level warning\n"


@pytest.mark.parametrize(("verbosity", "lines"), [("debug", 3), ("warning", 1), ("error", 0), ("nonsense", 2)])
def test_the_verbosity_of_transformers_counts(verbosity, lines):
    assert len(said("", TRANSFORMERS_VERBOSITY=verbosity).splitlines()) == lines
