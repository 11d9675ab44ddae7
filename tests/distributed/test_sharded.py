"""Real FSDP2 and DeepSpeed on two ranks and one disk; every test of an engine looks at the same launch."""

import functools
from importlib.util import find_spec

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.distributed.launch import Launch
from tests.distributed.sharded import DEEPSPEED, FSDP
from tests.distributed.trainers import fingerprint
from tests.training import digests
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.run_file import RUN_FILE_NAME
from transformers_buckets.cli import main
from transformers_buckets.export import export


BUCKET = "demo/two-ranks"
HAS_DEEPSPEED = find_spec("deepspeed") is not None
NEEDS_DEEPSPEED = (
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HAS_DEEPSPEED, reason="DeepSpeed is not installed: make test-all does that"),
)


def layouts(*names: str):
    return pytest.mark.parametrize(
        "layout",
        [pytest.param(name, marks=NEEDS_DEEPSPEED if name in DEEPSPEED else pytest.mark.slow) for name in names],
    )


all_layouts = layouts(*FSDP, *DEEPSPEED)
# What the second rank writes, beside its random numbers. Without sharded state that is nothing.
_ZERO_3 = (
    "global_step4/{}zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "global_step4/zero_pp_rank_1_mp_rank_00_model_states.pt",
)
OF_RANK_ONE = {
    "fsdp-sharded": {"pytorch_model_fsdp_0/__1_0.distcp", "optimizer_0/__1_0.distcp"},
    "fsdp-full": set(),
    "zero-2": {"global_step4/zero_pp_rank_1_mp_rank_00_optim_states.pt"},
    "zero-3": {path.format("") for path in _ZERO_3},
    "zero-3-bf16": {path.format("bf16_") for path in _ZERO_3},
}
# Those whose weights are in shards alone.
WITHOUT_WEIGHTS = ("fsdp-sharded", "zero-3", "zero-3-bf16")


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
    weights = set() if layout in WITHOUT_WEIGHTS else {"model.safetensors"}
    assert outside == {"config.json", "generation_config.json", "training_args.bin", RUN_FILE_NAME} | weights


@all_layouts
def test_a_checkpoint_becomes_a_model_of_the_weights_that_were_trained(launch, hub, tmp_path, layout):
    trained = load_file(launch.folder / f"{layout}.safetensors")

    assert main(["export", f"hf://buckets/{BUCKET}-{layout}/checkpoint-4", str(tmp_path / "model")]) == 0
    model, report = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)

    assert fingerprint(model.to(trained["lm_head.weight"].dtype).state_dict()) == fingerprint(trained)
    assert not any(report.values())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@layouts(*WITHOUT_WEIGHTS)
def test_the_weights_are_split_into_files_that_fit_into_memory(launch, hub, tmp_path, layout):
    model = export(f"hf://buckets/{BUCKET}-{layout}", tmp_path / "model", max_file_size="20KB")

    assert len(list(model.glob("model-*.safetensors"))) > 1
    trained = load_file(launch.folder / f"{layout}.safetensors")
    model = AutoModelForCausalLM.from_pretrained(model).to(trained["lm_head.weight"].dtype)
    assert fingerprint(model.state_dict()) == fingerprint(trained)
