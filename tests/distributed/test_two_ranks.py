"""Two processes train together; every test looks at the same launch."""

from pathlib import Path

import pytest

from tests.distributed.launch import Launch
from tests.distributed.train_and_resume import TIMEOUT
from tests.training import digests, same_weights, tiny_trainer
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.run_file import RUN_FILE_NAME


BUCKETS = {"DDP": "demo/two-ranks-ddp", "SHARDED": "demo/two-ranks-sharded", "ASYNC": "demo/two-ranks-async"}
MEMORY = "demo/two-ranks-memory"
all_layouts = pytest.mark.parametrize("layout", BUCKETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two-ranks")


@pytest.fixture(scope="module")
def launch(session_hub, folder):
    session_hub.clear_faults()
    session_hub.clear_requests()
    # The first commit takes longer than a collective may: rank 1 waits for it at the end of train().
    session_hub.fault(f"POST /api/buckets/{BUCKETS['DDP']}/batch", delay=TIMEOUT + 2, skip=1)
    launch = Launch("train_and_resume.py", folder, **BUCKETS, MEMORY=MEMORY)
    launch.requests = session_hub.requests()
    assert launch.status == 0, launch.output
    return launch


@all_layouts
def test_the_files_of_both_ranks_are_in_every_checkpoint_even_if_one_is_late(launch, hub, folder, tmp_path, layout):
    for name in ("checkpoint-2", "checkpoint-4"):
        pulled = CheckpointBucket(BUCKETS[layout]).pull(name, tmp_path)
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= set(digests(pulled))
        assert digests(pulled) == digests(folder / f"{layout}-first" / name)


def test_async_save_ends_as_the_usual_save_does(launch):
    assert launch.each("ASYNC first") == launch.each("ASYNC whole")
    assert "async_save=True has no effect" not in launch.output


def test_no_disk_sees_a_checkpoint_on_the_way_out_nor_back(launch, hub, folder, tmp_path):
    assert launch.each("MEMORY files") == [[], []]
    assert launch.each("MEMORY first") == launch.each("MEMORY whole") == launch.each("MEMORY resumed")
    assert launch.each("MEMORY in memory") == launch.each("MEMORY whole")
    (place,) = set(launch.each("MEMORY place"))
    assert place.startswith("/dev/shm/") and not Path(place).exists()
    pulled = CheckpointBucket(MEMORY).pull("checkpoint-2", tmp_path)
    assert digests(pulled).keys() == digests(folder / "MEMORY-whole" / "checkpoint-2").keys()
    assert "keep_local=False has no effect" not in launch.output


def test_all_shards_and_their_metadata_are_committed(launch, hub):
    files = set(CheckpointBucket(BUCKETS["SHARDED"]).latest().manifest.files)

    for part in ("pytorch_model_fsdp_0", "optimizer_0"):
        assert {f"{part}/.metadata", f"{part}/__0_0.distcp", f"{part}/__1_0.distcp"} <= files


def test_shards_are_no_part_of_the_root(launch, api):
    outside = {
        file.path.split("/")[0]
        for file in api.list_bucket_tree(BUCKETS["SHARDED"], recursive=True)
        if not file.path.startswith("checkpoint-")
    }
    assert outside == {"config.json", RUN_FILE_NAME}


def test_the_manifest_tells_how_many_processes_trained(launch, hub):
    assert CheckpointBucket(BUCKETS["DDP"]).latest().manifest.world_size == 2


@all_layouts
def test_an_empty_disk_resumes_bit_identically_on_both_ranks(launch, layout):
    assert launch.each(f"{layout} resumed") == launch.each(f"{layout} whole")
    assert len(set(launch.each(f"{layout} resumed"))) == 1


@all_layouts
def test_both_ranks_resume_from_the_same_folder(launch, folder, layout):
    assert launch.each(f"{layout} path") == [str(folder / f"{layout}-second" / "checkpoint-2")] * 2


@all_layouts
def test_two_ranks_on_one_node_download_once(launch, hub, layout):
    files = CheckpointBucket(BUCKETS[layout]).find("checkpoint-2").manifest.files
    asked_for = [request.path.rsplit("/", 1)[-1] for request in launch.requests if "/reconstructions/" in request.path]

    assert [asked_for.count(file.xet_hash) for path, file in files.items() if "model" in path] == [1] * len(
        [path for path in files if "model" in path]
    )


def test_one_rank_resumes_what_two_have_saved_as_from_local_disk(launch, hub, folder, tmp_path):
    from_disk = tiny_trainer(tmp_path / "disk", max_steps=4, push_to_bucket=False)
    from_disk.train(resume_from_checkpoint=str(folder / "DDP-first" / "checkpoint-2"))
    from_bucket = tiny_trainer(tmp_path / "bucket", max_steps=4, push_to_bucket=False)
    from_bucket.train(resume_from_checkpoint=f"hf://buckets/{BUCKETS['DDP']}/checkpoint-2")

    assert from_bucket.state.global_step == 4
    assert same_weights(from_bucket.model, from_disk.model)
