"""A run to look after, and a user at a terminal."""

import io
import sys

import pytest

from tests.hub.checkpoints import push_checkpoint


@pytest.fixture
def address(bucket_id, tmp_path):
    """A run with checkpoints 2, 4 and 6; 2 is the best."""
    for step in (2, 4, 6):
        push_checkpoint(bucket_id, tmp_path / "origin" / f"checkpoint-{step}", best="checkpoint-2")
    return f"hf://buckets/{bucket_id}"


@pytest.fixture
def answer(monkeypatch):
    """A terminal on which the user types something."""

    def answer(text: str) -> None:
        terminal = io.StringIO(f"{text}\n")
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", terminal)

    return answer
