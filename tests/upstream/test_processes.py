"""A training with a patched `transformers.Trainer` ends; another machine, with an empty folder, goes on exactly."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from tests.distributed.launch import torchrun
from tests.hub.contents import committed
from transformers_buckets import CheckpointBucket
from upstream.__main__ import FACE
from upstream.assemble import assembled
from upstream.edits import EDITS
from upstream.pull_request_1 import LEFT_OUT, PARTS
from upstream.series import PACKAGE
from upstream.tree import Tree


@pytest.fixture
def patched(tmp_path) -> list[str]:
    """What comes first in PYTHONPATH: nothing if transformers is patched already, otherwise pull request 1."""
    if importlib.util.find_spec("transformers.integrations.hf_buckets"):
        return []
    added = {"integrations/hf_buckets.py": assembled(PACKAGE, PARTS, LEFT_OUT, FACE)}
    Tree.of(Path(transformers.__path__[0]), EDITS, added).write(tmp_path / "tree" / "transformers")
    return [str(tmp_path / "tree")]


def run(patched: list[str], function: str, *arguments, launcher=(sys.executable,)) -> subprocess.CompletedProcess:
    path = os.pathsep.join([*patched, *sys.path])
    command = [*launcher, "-m", "tests.upstream.training", function, *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.slow
def test_killed_and_resumed_on_an_empty_folder_it_ends_with_the_same_weights(hub, bucket_id, tmp_path, patched):
    killed = run(patched, "train_until_killed", tmp_path / "lost", bucket_id, 5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    first = committed(bucket_id)

    resumed = run(patched, "resume_and_compare", tmp_path / "fresh", bucket_id)

    assert resumed.stdout.splitlines()[-1:] == ["same weights"], resumed.stderr
    assert first[0] == "checkpoint-2"
    assert committed(bucket_id)[-1] == "checkpoint-6"


@pytest.mark.slow
@pytest.mark.skipif(
    transformers.__version__.startswith("5.10."), reason="transformers 5.10 cannot resume on CPU ranks with this torch"
)
def test_two_ranks_go_on_with_the_files_of_both(hub, bucket_id, tmp_path, patched):
    trained = run(patched, "train", tmp_path / "lost", bucket_id, launcher=torchrun())
    assert trained.returncode == 0, trained.stderr

    resumed = run(patched, "resume_and_compare", tmp_path / "fresh", bucket_id, "checkpoint-2", launcher=torchrun())

    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split("\n").count("same weights") == 2
    latest = CheckpointBucket(bucket_id).latest()
    assert (latest.name, latest.manifest.world_size) == ("checkpoint-6", 2)
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= set(latest.manifest.files)
