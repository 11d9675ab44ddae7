"""Real FSDP2 and DeepSpeed on two ranks and one disk; every test of an engine looks at the same launch."""

import functools
from importlib.util import find_spec

import pytest

from tests.distributed.launch import Launch
from tests.distributed.sharded import DEEPSPEED, FSDP
from tests.training import digests
from transformers_buckets import CheckpointBucket


BUCKET = "demo/two-ranks"
_NEEDS_DEEPSPEED = (
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed: make test-all does that"),
)
all_layouts = pytest.mark.parametrize(
    "layout", [*FSDP, *(pytest.param(layout, marks=_NEEDS_DEEPSPEED) for layout in DEEPSPEED)]
)
# What the second rank writes, beside its random numbers. Without sharded state that is nothing.
OF_RANK_ONE = {
    "fsdp-sharded": {"pytorch_model_fsdp_0/__1_0.distcp", "optimizer_0/__1_0.distcp"},
    "fsdp-full": set(),
    "zero-2": {"global_step4/zero_pp_rank_1_mp_rank_00_optim_states.pt"},
    "zero-3": {f"global_step4/zero_pp_rank_1_mp_rank_00_{part}_states.pt" for part in ("model", "optim")},
}


@pytest.fixture(scope="module")
def launches(session_hub, tmp_path_factory):
    @functools.cache
    def launch(engine: str) -> Launch:
        folder = tmp_path_factory.mktemp(engine)
        session_hub.clear_faults()
        launch = Launch("train_sharded.py", folder, BUCKET=BUCKET, ENGINE=engine)
        assert launch.status == 0, launch.output
        launch.folder = folder
        return launch

    return launch


@pytest.fixture
def launch(launches, layout):
    return launches("fsdp" if layout in FSDP else "deepspeed")


def run_of(layout: str) -> CheckpointBucket:
    return CheckpointBucket(f"{BUCKET}-{layout}")


@all_layouts
def test_the_files_of_both_ranks_are_in_the_checkpoint(launch, hub, tmp_path, layout):
    pulled = run_of(layout).pull("checkpoint-4", tmp_path)

    assert digests(pulled).keys() >= OF_RANK_ONE[layout] | {"rng_state_0.pth", "rng_state_1.pth"}
    assert digests(pulled) == digests(launch.folder / f"{layout}-first" / "checkpoint-4")


@all_layouts
def test_an_empty_disk_goes_on_as_if_nothing_had_happened(launch, layout):
    assert launch.each(f"{layout} resumed") == launch.each(f"{layout} whole")
    assert launch.each(f"{layout} trained") == [2, 2]  # of four


@all_layouts
def test_the_root_of_the_run_is_the_model_and_nothing_of_the_training(launch, api, layout):
    outside = {
        file.path
        for file in api.list_bucket_tree(f"{BUCKET}-{layout}", recursive=True)
        if not file.path.startswith("checkpoint-")
    }
    weights = set() if layout in ("fsdp-sharded", "zero-3") else {"model.safetensors"}
    assert outside == {"config.json", "generation_config.json", "training_args.bin"} | weights
