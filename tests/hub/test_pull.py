"""A pull: what travels, what is reused, and what is noticed."""

import os
import re
import shutil
import threading
import time

import pytest

from tests.hub.checkpoints import SIZE, SIZES, downloaded, push_checkpoint, put, write_checkpoint
from tests.training import digests
from transformers_buckets import BrokenCheckpointError, BucketAccessError, BucketError, CheckpointBucket


@pytest.fixture
def origin(bucket_id, tmp_path):
    """The checkpoint as it was saved; it is committed to the bucket, between two others."""
    for step in (2, 4, 6):
        push_checkpoint(bucket_id, tmp_path / "origin" / f"checkpoint-{step}")
    return tmp_path / "origin" / "checkpoint-4"


@pytest.fixture
def run(bucket_id, origin):
    return CheckpointBucket(bucket_id)


@pytest.fixture
def here(tmp_path):
    return tmp_path / "here"


def test_one_checkpoint_is_downloaded_and_nothing_else(run, origin, here, hub):
    checkpoint = run.find("checkpoint-4")
    hub.clear_requests()

    assert run.pull(checkpoint, here) == here / "checkpoint-4"

    assert digests(here) == {f"checkpoint-4/{path}": digest for path, digest in digests(origin).items()}
    assert SIZE <= downloaded(hub) < SIZE * 1.05
    assert not hub.requests("/tree")


def test_the_files_look_as_old_as_their_commit(run, here):
    committed_at = run.find("checkpoint-4").committed_at.timestamp()

    state = run.pull("checkpoint-4", here) / "trainer_state.json"

    assert state.stat().st_mtime == pytest.approx(committed_at, abs=0.001)


def test_only_the_model_is_downloaded_if_that_is_asked_for(run, here, hub):
    run.pull("checkpoint-4", here, only_model=True)

    assert digests(here).keys() == {"checkpoint-4/model.safetensors"}
    assert downloaded(hub) < SIZES["model.safetensors"] * 1.05


def test_a_model_that_is_there_is_used_and_a_damaged_one_replaced_by_the_model_alone(run, here, hub):
    checkpoint = run.find("checkpoint-4")
    weights = run.pull(checkpoint, here, only_model=True) / "model.safetensors"
    file, content = weights.stat().st_ino, weights.read_bytes()
    hub.clear_requests()

    run.pull(checkpoint, here, only_model=True)
    assert weights.stat().st_ino == file and not hub.requests()

    weights.write_bytes(bytes(len(content)))
    run.pull(checkpoint, here, only_model=True)
    assert digests(here / "checkpoint-4").keys() == {"model.safetensors"} and weights.read_bytes() == content
    assert downloaded(hub) < SIZES["model.safetensors"] * 1.05


def test_sharded_state_comes_with_the_model_for_weights_may_be_in_it(bucket_id, tmp_path, here):
    sizes = {"config.json": 10, "pytorch_model_fsdp_0/.metadata": 10, "pytorch_model_fsdp_0/__0_0.distcp": 1000}
    origin = push_checkpoint(bucket_id, tmp_path / "checkpoint-2", sizes=sizes)

    assert digests(CheckpointBucket(bucket_id).pull("checkpoint-2", here, only_model=True)) == digests(origin)


def test_an_intact_local_copy_is_used_without_a_byte(run, here, hub):
    checkpoint = run.find("checkpoint-4")
    run.pull(checkpoint, here)
    hub.clear_requests()

    run.pull(checkpoint, here)

    assert not hub.requests()


def test_a_corrupt_local_copy_is_replaced_and_only_what_is_wrong_travels(run, origin, here, hub, messages):
    checkpoint = run.find("checkpoint-4")
    weights = run.pull(checkpoint, here) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    hub.clear_requests()

    assert digests(run.pull(checkpoint, here)) == digests(origin)

    assert SIZES["model.safetensors"] <= downloaded(hub) < SIZES["model.safetensors"] * 1.05
    assert [line for line in messages() if "model.safetensors has another content (wrong hash)" in line]


def test_a_copy_that_waits_in_the_outbox_is_not_written_through(run, origin, here, tmp_path):
    """Hard links have one content: what replaces a local copy must not change what another link sees."""
    other = write_checkpoint(here / "checkpoint-4", seed=1, sizes={**SIZES, "optimizer.pt": 1000})
    shutil.copytree(other, tmp_path / "outbox", copy_function=os.link)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "outbox").iterdir()}

    assert digests(run.pull("checkpoint-4", here)) == digests(origin)

    after = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "outbox").iterdir()}
    assert after == before


def test_a_bit_that_flips_on_the_way_is_noticed_and_the_file_fetched_again(run, origin, here, hub, messages):
    checkpoint = run.find("checkpoint-4")
    hub.fault("GET /xorbs/", corrupt=True)

    assert digests(run.pull(checkpoint, here)) == digests(origin)
    assert [line for line in messages() if "did not arrive as it was committed" in line]


def test_a_bit_that_flips_again_and_again_is_an_error_and_nothing_is_left_to_resume(run, origin, here, hub):
    checkpoint = run.find("checkpoint-4")
    hub.fault("GET /xorbs/", corrupt=True, times=None)
    with pytest.raises(BrokenCheckpointError, match="did not arrive as it was committed: .*wrong hash"):
        run.pull(checkpoint, here)
    assert not (here / "checkpoint-4").exists()

    hub.clear_faults()
    assert digests(run.pull(checkpoint, here)) == digests(origin)


def test_an_interrupted_download_goes_on_with_the_files_that_are_missing(api, bucket_id, here, hub, tmp_path):
    sizes, xorbs = {"model.safetensors": 300_000, "optimizer.pt": 500_000, "rng_state.pth": 10_000}, {}
    origin = write_checkpoint(tmp_path / "checkpoint-4", seed=os.urandom(8), sizes=sizes)  # nothing the Hub knows
    for path in digests(origin):
        put(api, bucket_id, **{f"checkpoint-4/{path}": (origin / path).read_bytes()})
        xorbs[path] = re.search("[0-9a-f]{64}", hub.requests("POST /v1/xorbs/")[-1].path)[0]
    run = CheckpointBucket(bucket_id)
    run.adopt("checkpoint-4")
    checkpoint, errors = run.find("checkpoint-4"), []

    def pull():
        try:
            run.pull(checkpoint, here)
        except BucketError as error:
            errors.append(error)

    hub.hold(f"GET /xorbs/.*{xorbs['optimizer.pt']}")
    attempt = threading.Thread(target=pull)
    attempt.start()
    arrived = here / "_bucket" / "downloads" / "checkpoint-4" / "model.safetensors"
    give_up = time.monotonic() + 30
    while not (arrived.exists() and arrived.stat().st_size == sizes["model.safetensors"]):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    hub.fault(f"GET /xorbs/.*{xorbs['optimizer.pt']}", status=403, times=None)
    hub.release()
    attempt.join()
    assert isinstance(errors[0], BucketAccessError) and "the download broke off" in str(errors[0])
    assert not (here / "checkpoint-4").exists()

    hub.clear_faults()
    hub.clear_requests()
    assert digests(run.pull(checkpoint, here)) == digests(origin)
    assert downloaded(hub) < sizes["optimizer.pt"] * 1.05


def test_a_file_that_was_cut_off_is_continued_where_it_stopped(run, origin, here, hub):
    checkpoint = run.find("checkpoint-4")
    begun = here / "_bucket" / "downloads" / "checkpoint-4" / "optimizer.pt"
    begun.parent.mkdir(parents=True)
    begun.write_bytes((origin / "optimizer.pt").read_bytes()[:300_000])
    hub.clear_requests()

    assert digests(run.pull(checkpoint, here)) == digests(origin)

    # Chunks are read as a whole: up to 128 kB come twice.
    assert downloaded(hub) <= SIZE - 300_000 + 140_000


def test_a_beginning_that_does_not_belong_to_the_file_is_noticed(run, origin, here):
    begun = here / "_bucket" / "downloads" / "checkpoint-4" / "optimizer.pt"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(bytes(300_000))

    assert digests(run.pull("checkpoint-4", here)) == digests(origin)


def test_what_an_interrupted_download_of_another_run_left_is_not_mixed_in(run, origin, here):
    downloads = here / "_bucket" / "downloads" / "checkpoint-4"
    write_checkpoint(downloads, seed=1)
    (downloads / "adapter_model.safetensors").write_bytes(b"of another run")

    assert digests(run.pull("checkpoint-4", here)) == digests(origin)


def test_a_full_disk_is_told_before_anything_is_downloaded(run, here, hub, mocker):
    checkpoint = run.find("checkpoint-4")
    hub.clear_requests()
    mocker.patch("shutil.disk_usage", return_value=shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))

    with pytest.raises(BucketError, match="free and the checkpoint needs .* more: make room, or choose"):
        run.pull(checkpoint, here)
    assert not hub.requests("GET /xorbs/")
    assert not (here / "checkpoint-4").exists()


def test_a_file_where_the_folder_should_be_is_left_alone(run, here):
    here.mkdir()
    (here / "checkpoint-4").write_text("mine")

    with pytest.raises(BucketError, match="is not a folder of its own, as a checkpoint must be: move it away"):
        run.pull("checkpoint-4", here)
    assert (here / "checkpoint-4").read_text() == "mine"


def test_a_link_to_a_folder_elsewhere_is_not_followed(run, here, tmp_path):
    elsewhere = write_checkpoint(tmp_path / "elsewhere" / "checkpoint-4", seed=1)
    before = digests(elsewhere)
    here.mkdir()
    (here / "checkpoint-4").symlink_to(elsewhere)

    with pytest.raises(BucketError, match="checkpoint-4 is not a folder of its own"):
        run.pull("checkpoint-4", here)
    assert (here / "checkpoint-4").is_symlink()
    assert digests(elsewhere) == before


def test_a_folder_that_cannot_be_written_is_not_blamed_on_the_hub(run, here):
    here.write_text("a file")

    with pytest.raises(BucketError, match="cannot be written: .*Not a directory") as error:
        run.pull("checkpoint-4", here)
    assert not isinstance(error.value, BucketAccessError)
