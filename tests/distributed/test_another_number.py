"""What two ranks have saved goes on with one, and the other way round; all tests of an engine look at the same launches."""

import functools
import re
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests.distributed.launch import Launch
from tests.distributed.sharded import DEEPSPEED, FSDP
from tests.distributed.test_sharded import HAS_DEEPSPEED, NEEDS_DEEPSPEED
from tests.distributed.trainers import fingerprint
from transformers_buckets.export import export


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OF_TWO, OF_ONE = "demo/of-two", "demo/of-one"
SCRIPT = "resume_on_another_number.py"
# From two to one, and from one to two.
numbers = pytest.mark.parametrize(("ranks", "source", "saved_by"), [(1, OF_TWO, 2), (2, OF_ONE, 1)])
fsdp = pytest.mark.parametrize("layout", FSDP)
deepspeed = pytest.mark.parametrize("layout", [pytest.param(name, marks=NEEDS_DEEPSPEED) for name in DEEPSPEED])


@pytest.fixture(scope="module")
def launches(session_hub, tmp_path_factory):
    """By engine: the launches on one and on two ranks that resume what the other number has saved."""

    @functools.cache
    def launch(engine: str) -> dict[int, Launch]:
        folder = tmp_path_factory.mktemp(engine)
        for ranks in (1, 2):
            (folder / str(ranks)).mkdir()
        session_hub.clear_faults()
        first = Launch("train_sharded.py", folder, BUCKET=OF_TWO, ENGINE=engine)
        assert first.status == 0, first.output
        launches = {1: Launch(SCRIPT, folder / "1", 1, ENGINE=engine, SOURCE=OF_TWO, TARGET=OF_ONE)}
        launches[2] = Launch(SCRIPT, folder / "2", 2, ENGINE=engine, SOURCE=OF_ONE)
        for ranks, launch in launches.items():
            launch.folder = folder / str(ranks)
            assert launch.status == 0, launch.output
        return launches

    return launch


def weights_of(source: str, layout: str, tmp_path) -> str:
    model = export(f"hf://buckets/{source}-{layout}/checkpoint-2", tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    # ZeRO keeps the exact weights for the optimizer.
    return fingerprint({name: tensor.bfloat16() if "bf16" in layout else tensor for name, tensor in weights.items()})


@numbers
@fsdp
def test_fsdp_goes_on_with_the_weights_that_were_saved(launches, hub, tmp_path, layout, ranks, source, saved_by):
    launch = launches("fsdp")[ranks]

    assert launch.each(f"{layout} trained") == [2] * ranks  # of four
    assert launch.each(f"{layout} began with") == [weights_of(source, layout, tmp_path)] * ranks


@numbers
@fsdp
def test_what_changes_is_said_once(launches, layout, ranks, source, saved_by):
    output = launches("fsdp")[ranks].output

    lines = [line for line in output.splitlines() if f"{layout}/checkpoint-2 was saved by" in line]
    (line,) = lines
    assert f"by {saved_by} processes and training goes on with {ranks}" in line
    assert "the order of the data" in line


@numbers
@deepspeed
def test_deepspeed_is_stopped_before_the_first_step(launches, layout, ranks, source, saved_by):
    launch = launches("deepspeed")[ranks]

    assert launch.each(f"{layout} trained") == [0] * ranks
    for error in launch.each(f"{layout} refused"):
        assert f"was saved by {saved_by} processes with DeepSpeed, which cannot load it on {ranks}" in error


@pytest.mark.skipif(not HAS_DEEPSPEED, reason="DeepSpeed is not installed")
def test_the_way_out_that_is_told_leads_out(launches, hub, tmp_path):
    launch = launches("deepspeed")[1]
    for layout in DEEPSPEED:
        (error,) = launch.each(f"{layout} refused")
        command = re.search(r"python (-m deepspeed.checkpoint.ds_to_universal .*?);", error).group(1).split()
        subprocess.run([sys.executable, *command], cwd=launch.folder, check=True, capture_output=True)

    again = Launch(SCRIPT, launch.folder, 1, ENGINE="deepspeed", SOURCE=OF_TWO, UNIVERSAL="1")

    assert again.status == 0, again.output
    for layout in DEEPSPEED:
        assert again.each(f"{layout} trained") == [2]
        assert again.each(f"{layout} began with") == [weights_of(OF_TWO, layout, tmp_path / layout)]
