"""`torch.distributed.checkpoint` with a bucket, on one rank."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException, DefaultSavePlanner, FileSystemReader, FileSystemWriter

from tests.hub.checkpoints import downloaded, manifest_of, put, records
from transformers_buckets import BucketAddressError, BucketStorageReader, BucketStorageWriter, CheckpointBucket
from transformers_buckets.bucket.added import ADDED_NAME
from transformers_buckets.bucket.run_file import RUN_FILE_NAME


pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.distributed is disabled", "ignore:Detected an existing checkpoint"
)
NUMBERS = 262_144  # a megabyte


@pytest.fixture
def address(bucket_id) -> str:
    return f"hf://buckets/{bucket_id}/expt-1/checkpoint-5"


@pytest.fixture
def run(bucket_id) -> CheckpointBucket:
    return CheckpointBucket(f"{bucket_id}/expt-1")


def state(seed: int = 0) -> dict:
    """Four tensors of a megabyte, a small one, and what is no tensor."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {f"layer-{number}": torch.randn(NUMBERS, generator=generator) for number in range(4)}
    return {"model": {**tensors, "bias": torch.arange(seed, seed + 3)}, "step": seed, "name": f"of seed {seed}"}


def save(address: str, what: dict, **options) -> None:
    dcp.save(what, storage_writer=BucketStorageWriter(address, **options))


def load(address: str, *wanted: str, reader=BucketStorageReader) -> dict:
    """A state as it is in a checkpoint; with names, only those tensors."""
    shape = state()
    names = wanted or shape["model"]
    blank = {"model": {name: torch.zeros_like(shape["model"][name]) for name in names}}
    if not wanted:
        blank |= {"step": -1, "name": ""}
    dcp.load(blank, storage_reader=reader(address))
    return blank


def same(one: dict, other: dict) -> bool:
    tensors = one["model"].keys() == other["model"].keys() and all(
        torch.equal(one["model"][name], other["model"][name]) for name in other["model"]
    )
    return tensors and (one["step"], one["name"]) == (other["step"], other["name"])


def commit_what_is_there(api, bucket_id: str) -> None:
    """As a hostile writer would."""
    files = records(api, bucket_id, "expt-1/checkpoint-5")
    put(api, bucket_id, **{"expt-1/checkpoint-5/checkpoint_manifest.json": manifest_of(5, files)})


# ---- What is saved ----


def test_what_is_saved_is_loaded(hub, address):
    save(address, state(3))

    assert same(load(address), state(3))


def test_a_saved_checkpoint_is_a_committed_one(hub, run, address):
    save(address, state())

    checkpoint = run.latest()
    assert (checkpoint.name, checkpoint.state) == ("checkpoint-5", "committed")
    assert set(checkpoint.manifest.files) == {".metadata", "__0_0.distcp"}
    assert (checkpoint.manifest.world_size, checkpoint.manifest.versions["torch"]) == (1, torch.__version__)
    assert run.verify(checkpoint) == []


def test_pulled_it_is_one_of_torch(hub, run, address, tmp_path):
    save(address, state(2))

    assert same(load(run.pull("checkpoint-5", tmp_path), reader=FileSystemReader), state(2))


@pytest.mark.parametrize("options", [{"thread_count": 3}, {"single_file_per_rank": False}], ids=str)
def test_options_of_torchs_writer(hub, address, options):
    save(address, state(2), **options)

    assert same(load(address), state(2))


def test_one_writer_saves_many_checkpoints(hub, run, address):
    writer = BucketStorageWriter(address)
    for step in (5, 6, 5):
        dcp.save(state(step), checkpoint_id=address.removesuffix("5") + str(step), storage_writer=writer)
    dcp.save(state(7), storage_writer=writer)

    committed = run.committed()
    assert [checkpoint.name for checkpoint in committed] == ["checkpoint-6", "checkpoint-5"]
    assert len({checkpoint.manifest.run for checkpoint in committed}) == 1
    assert same(load(address), state(7))


def test_a_checkpoint_that_is_replaced_leaves_nothing_behind(hub, run, address):
    save(address, state(1), thread_count=3)
    save(address, state(2))

    assert same(load(address), state(2))
    there = {file.path.rsplit("/", 1)[-1] for file in run.api.list_bucket_tree(run.address.bucket_id, recursive=True)}
    assert there == {".metadata", "__0_0.distcp", "checkpoint_manifest.json", ADDED_NAME, RUN_FILE_NAME}


def test_a_checkpoint_is_not_replaced_if_that_was_not_wished(hub, address):
    save(address, state(1))
    with pytest.raises(CheckpointException, match="already exists"):
        save(address, state(2), overwrite=False)

    assert same(load(address), state(1))


def test_data_that_the_bucket_has_is_not_sent_again(hub, address):
    save(address, state(1))
    hub.clear_requests()
    save(address.removesuffix("5") + "6", state(1))

    assert sum(request.received for request in hub.requests("POST /v1/xorbs/")) < 100_000


def test_async_save_stores_what_was_there_when_it_was_called(hub, run, address):
    hub.hold("POST /v1/xorbs/")
    what = state(1)
    saved = dcp.async_save(what, storage_writer=BucketStorageWriter(address))
    hub.wait_for("POST /v1/xorbs/")
    for tensor in what["model"].values():
        tensor.zero_()
    assert run.committed() == []
    hub.release()
    saved.result()

    assert same(load(address), state(1))


def test_nothing_touches_a_disk(hub, address):
    """On Linux, which can forbid a process to write large files, whatever library does it."""
    program = f"""
import resource, torch, torch.distributed.checkpoint as dcp
from transformers_buckets import BucketStorageReader, BucketStorageWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
state = {{"weights": torch.rand(1_000_000)}}
dcp.save(state, storage_writer=BucketStorageWriter("{address}"))
loaded = {{"weights": torch.zeros(1_000_000)}}
dcp.load(loaded, storage_reader=BucketStorageReader("{address}"))
assert torch.equal(loaded["weights"], state["weights"])
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- What is loaded ----


def test_a_part_travels_alone(hub, address):
    save(address, state(1))
    hub.clear_requests()

    part = load(address, "layer-2")

    assert torch.equal(part["model"]["layer-2"], state(1)["model"]["layer-2"])
    assert 0.8 < downloaded(hub) / (4 * NUMBERS) < 1.2  # it travels compressed, and by chunks


def test_the_whole_travels_once_and_in_one_stream(hub, run, address):
    save(address, state(1))
    shard = run.latest().manifest.files["__0_0.distcp"]
    hub.clear_requests()

    load(address)

    assert downloaded(hub) < 1.05 * shard.size
    assert len(hub.requests(f"/reconstructions/{shard.xet_hash}")) == 1


def test_small_parts_that_lie_apart_do_not_wait_for_each_other(hub, run, address):
    """As the counters of an optimizer, which lie between its moments."""
    names = [f"{kind}-{number}" for number in range(8) for kind in ("moment", "counter")]
    save(address, {name: torch.rand(NUMBERS // 4) if "moment" in name else torch.tensor(7) for name in names})
    counters = {name: torch.tensor(0) for name in names if "counter" in name}
    shard = f"/reconstructions/{run.latest().manifest.files['__0_0.distcp'].xet_hash}"
    hub.hold(shard)

    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(dcp.load, counters, storage_reader=BucketStorageReader(address))
        while len(hub.requests(shard)) < len(counters):
            assert not loading.done()
        hub.release()
        loading.result()

    assert {int(counter) for counter in counters.values()} == {7}


def test_a_byte_that_flips_once_is_made_good(hub, address):
    save(address, state(1))
    hub.fault("GET /xorbs/", corrupt=True, skip=2)  # after the manifest and the metadata

    assert same(load(address), state(1))


def test_a_byte_that_stays_wrong_is_an_error(hub, address):
    save(address, state(1))
    hub.fault("GET /xorbs/", corrupt=True, skip=2, times=None)

    with pytest.raises(CheckpointException, match=f"{address} cannot be loaded: .* did not arrive as it was written"):
        load(address)


def test_the_byte_that_is_wrong_may_be_that_of_an_object(hub, run, address):
    dcp.save({"object": os.urandom(300_000)}, storage_writer=BucketStorageWriter(address))
    hub.fault("GET /xorbs/", corrupt=True, skip=2, times=None)

    with pytest.raises(CheckpointException, match="did not arrive as it was written"):
        dcp.load({"object": b""}, storage_reader=BucketStorageReader(address))


@pytest.mark.parametrize("match", ["GET /xorbs/", "GET /v2/reconstructions/"])
def test_a_storage_that_is_away_is_an_error_with_the_address(hub, address, match):
    save(address, state(1))
    hub.fault(match, status=503, skip=2, times=None)

    with pytest.raises(CheckpointException, match=f"{address} cannot be loaded"):
        load(address)


# ---- What goes wrong ----


@pytest.mark.parametrize("match", ["POST /v1/xorbs/", "POST /v2/shards", "GET .*write-token"])
def test_a_save_that_fails_leaves_the_bucket_as_it_was(hub, run, address, match):
    save(address, state(1))
    before = records(run.api, run.address.bucket_id, "expt-1")
    hub.fault(match, status=503, times=None)

    with pytest.raises(CheckpointException, match=f"{address} was not saved"):
        save(address, state(NUMBERS))  # of a seed that no other test uses: what the Hub has is not sent

    assert records(run.api, run.address.bucket_id, "expt-1") == before
    hub.clear_faults()
    assert same(load(address), state(1))


def test_an_error_in_one_of_torchs_threads_is_not_lost(hub, run, address, monkeypatch):
    """An error there ends nothing but the thread: torch would leave out what it had to write."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    failed = threading.Event()

    class FailingPlanner(DefaultSavePlanner):
        def resolve_data(self, item):
            if threading.current_thread() is not threading.main_thread():
                failed.set()
                raise ValueError("not in this thread")
            assert failed.wait(60)
            return super().resolve_data(item)

    with pytest.raises(CheckpointException, match="items could not be written"):
        dcp.save(state(1), storage_writer=BucketStorageWriter(address, thread_count=4), planner=FailingPlanner())

    assert run.committed() == []


def test_a_checkpoint_that_is_not_committed_is_not_loaded(hub, run, address):
    save(address, state(1))
    run.api.batch_bucket_files(run.address.bucket_id, delete=["expt-1/checkpoint-5/checkpoint_manifest.json"])
    with pytest.raises(CheckpointException, match="is unmarked: it has no manifest"):
        load(address)


def test_a_checkpoint_that_lacks_a_file_is_not_loaded(hub, run, address):
    save(address, state(1))
    run.api.batch_bucket_files(run.address.bucket_id, delete=["expt-1/checkpoint-5/__0_0.distcp"])

    with pytest.raises(CheckpointException, match="is broken: __0_0.distcp is missing"):
        load(address)


def test_a_checkpoint_of_a_trainer_is_told_from_one_of_torch(hub, api, bucket_id, address):
    put(api, bucket_id, **{"expt-1/checkpoint-5/model.safetensors": "weights"})
    commit_what_is_there(api, bucket_id)

    with pytest.raises(CheckpointException, match=f"{address} has no .metadata"):
        load(address)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        b"\x80\x04\x8c'torch.distributed.checkpoint.filesystem\x8c\x08os.mkdir\x93\x8c\x04evil\x85R.",  # through a module
        b"garbage",
    ],
    ids=["call", "dotted", "garbage"],
)
def test_a_hostile_metadata_does_not_run(hub, api, bucket_id, address, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(api, bucket_id, **{"expt-1/checkpoint-5/.metadata": content})
    commit_what_is_there(api, bucket_id)

    with pytest.raises(CheckpointException, match="its .metadata"):
        load(address)

    assert not (tmp_path / "evil").exists()


def test_a_metadata_that_names_a_file_elsewhere_is_refused(hub, api, bucket_id, address, tmp_path):
    dcp.save(state(), storage_writer=FileSystemWriter(tmp_path))
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    for place in metadata.storage_data.values():
        place.relative_path = "../checkpoint-6/__0_0.distcp"
    put(api, bucket_id, **{"expt-1/checkpoint-5/.metadata": pickle.dumps(metadata)})
    commit_what_is_there(api, bucket_id)

    with pytest.raises(CheckpointException, match="which its manifest does not know"):
        load(address)


@pytest.mark.parametrize("wrong", ["hf://buckets/demo/x", "hf://buckets/demo/x/model", "demo"])
@pytest.mark.parametrize("made", [BucketStorageWriter, BucketStorageReader])
def test_an_address_without_a_checkpoint_is_refused_at_once(made, wrong):
    with pytest.raises(BucketAddressError, match="checkpoint_id='"):
        made(wrong)
    assert not made.validate_checkpoint_id(wrong)


def test_a_token_that_may_not_write_is_told_before_anything_is_sent(hub, address):
    token = hub.create_token("guest", {"demo": "read"})
    with pytest.raises(CheckpointException, match="may not write"):
        save(address, state(), token=token)

    assert not hub.requests("POST /v1/xorbs/")


def test_without_collectives_nothing_could_be_committed(hub, run, address):
    with pytest.raises(Exception, match="use_collectives=False"):
        dcp.save(state(), storage_writer=BucketStorageWriter(address), use_collectives=False)
