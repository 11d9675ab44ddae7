"""Folders in memory are where a test can see them, and small files are large ones."""

import pytest

from transformers_buckets.saving import memory_folder


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """Folders in memory are where a test can see them. Nothing is left there in the end."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(memory_folder, "MEMORY", folder)
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture(autouse=True)
def streamed(monkeypatch):
    """Large files are streamed; here a file of some kB is a large one."""
    monkeypatch.setattr("transformers_buckets.saving.in_memory.LOOKED_AT", 20_000)
