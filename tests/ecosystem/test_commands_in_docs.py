"""Every command in the docs that starts a training: run by a shell as it stands, with names, sizes and numbers for a test."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ecosystem import tiny
from tests.hub.contents import committed
from tests.test_docs import code_blocks
from transformers_buckets import CheckpointBucket


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
BLOCKS = [
    (f"{page.stem} {number}", block)
    for page in (ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "docs" / "recipes.md")
    for number, block in enumerate(code_blocks(page, "bash", "yaml"))
    if re.search(r"transformers.buckets, run|transformers.buckets run|accelerate launch", block)
]
# Takes the flags of transformers and leaves those of anybody else alone. Short, on the CPU.
TRAIN = """
import sys
from transformers import HfArgumentParser, Trainer, TrainingArguments
from tests.training import tiny_dataset, tiny_model

flags = "--max_steps=4 --save_steps=2 --logging_steps=1 --report_to=none --disable_tqdm=True --use_cpu=True --output_dir=out"
parser = HfArgumentParser(TrainingArguments)
args, _ = parser.parse_args_into_dataclasses([*flags.split(), *sys.argv[1:]], return_remaining_strings=True)
Trainer(model=tiny_model(), args=args, train_dataset=tiny_dataset()).train()
"""
SHORT = " --max_steps=4 --logging_steps=1 --report_to=none --use_cpu=True --bf16=False"
PROGRAMS = {
    "python": "",
    "torchrun": "-m torch.distributed.run",
    "accelerate": "-m accelerate.commands.accelerate_cli",
    "transformers-buckets": "-m transformers_buckets",
}


@pytest.fixture
def here(tmp_path) -> Path:
    """A folder with what the commands name, and with the programs in it."""
    for name in ("train.py", "script.py"):
        (tmp_path / name).write_text(TRAIN)
    shutil.copy(Path(__file__).parent / "scripts" / "run_clm.py", tmp_path)
    (tmp_path / "text.txt").write_text("\n".join(tiny.sentence(index) for index in range(64)))
    (tmp_path / "data").mkdir()
    rows = [json.dumps({"text": tiny.sentence(index)}) for index in range(32)]
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(rows))
    for name in ("my-tokenizer", "my-config"):
        tiny.causal_lm().save_pretrained(tmp_path / name)
        tiny.tokenizer().save_pretrained(tmp_path / name)
    (tmp_path / "bin").mkdir()
    programs = {name: f'exec {sys.executable} {module} "$@"' for name, module in PROGRAMS.items()}
    programs |= {"srun": 'exec "$@"', "scontrol": "exit 1"}  # of a cluster, which nobody has here
    for name, line in programs.items():
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def for_a_test(block: str, bucket_id: str) -> str:
    """The same command with the names of a test, for two ranks where there are several."""
    if block.startswith("apiVersion"):
        block = " ".join(re.search(r"command: \[(.*?)\]", block, re.S)[1].replace(",", " ").split())
    for written, meant in {
        r"my-org/my-run": bucket_id,
        r"/mnt/local/|\$SCRATCH/": "",
        r"(--nproc_per_node) \d": r"\1 1" if "--nnodes" in block else r"\1 2",
        r"Qwen/Qwen3-0.6B": "my-config",
        r"trl-lib/Capybara": "data",
        r"^export HF_TOKEN=.*$": "",
        r" \.\.\.$": f" --push_to_bucket --bucket_id {bucket_id}",
        r"launch -m": "launch --cpu -m",
    }.items():
        block = re.sub(written, meant, block, flags=re.M)
    return block.rstrip() + (SHORT if re.search("trl.scripts|run_clm", block) else "")


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_the_command_trains_and_pushes(hub, bucket_id, here, block):
    if "train.py --use_cpu ..." in block:  # a script that is edited
        (here / "train.py").write_text(TRAIN.replace("flags =", "from transformers_buckets import *\n\nflags =", 1))
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{here}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SCRATCH": str(here),
        "FIRST_NODE": "127.0.0.1",
        "MASTER_PORT": port,
        "PET_MASTER_PORT": port,
        "PET_LOCAL_ADDR": "127.0.0.1",
    }
    line = for_a_test(block, bucket_id).replace("29500", port)
    nodes = []
    for node in range(2 if "--nnodes 2" in line else 1):
        folder = here / f"node-{node}"
        shutil.copytree(here, folder, ignore=lambda *_: ["bin", "node-0", "node-1"])
        nodes.append(
            subprocess.Popen(
                ["bash", "-c", line],
                cwd=folder,
                env=environment,
                stderr=subprocess.STDOUT,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    outputs = [node.communicate(timeout=500)[0] for node in nodes]

    assert [node.returncode for node in nodes] == [0] * len(nodes), f"{line}\n" + "\n".join(outputs)
    assert committed(bucket_id)[-1] == "checkpoint-4", "\n".join(outputs)
    ranks = 2 if re.search("(nproc_per_node|num_processes|nnodes) 2", line) else 1
    assert CheckpointBucket(bucket_id).latest().manifest.world_size == ranks


def test_no_command_is_left_out():
    assert len(BLOCKS) == 13
