"""Parts on other disks: one process plays all of them, each with a folder of its own."""

import threading
import time

import pytest

from tests.hub.checkpoints import write_checkpoint
from transformers_buckets import BucketError, CheckpointBucket
from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.bucket.files import list_files, measure
from transformers_buckets.bucket.manifest import Manifest, PushId
from transformers_buckets.saving import parts
from transformers_buckets.saving.keeper import PartKeeper
from transformers_buckets.saving.outbox import Outbox
from transformers_buckets.saving.parts import Disk, PartCollector


NAME = "checkpoint-2"


class Nodes:
    """Rank zero and two disks that it does not see."""

    def __init__(self, bucket_id: str, folder):
        self.run = CheckpointBucket(bucket_id)
        self.run.create()
        self.collector = PartCollector("127.0.0.1")
        self.collector.disks = [Disk([1], "one"), Disk([2, 3], "two")]
        self.outboxes = [Outbox(folder / str(rank), str(self.run.address)) for rank in range(3)]
        self.keepers = [PartKeeper(self.collector.endpoint, rank, self.outboxes[rank]) for rank in (1, 2)]

    def save(self, number: int = 1):
        """What each disk has of a checkpoint goes into its outbox; the entries."""
        push_id = PushId("writer", number)
        whole, entries = {}, []
        for rank, outbox in enumerate(self.outboxes):
            sizes = {f"rng_state_{rank}.pth": 1000} if rank else {"model.safetensors": 2000, "optimizer.pt": 3000}
            folder = write_checkpoint(outbox.output_dir / NAME, seed=rank, sizes=sizes)
            if rank:
                (folder / "trainer_state.json").unlink()
            whole |= measure(list_files(folder))
            entries.append((outbox, list_files(folder)))
        manifest = Manifest(2, whole, world_size=3, push_id=push_id)
        entries = [outbox.add(files, NAME, manifest) for outbox, files in entries]
        for keeper, entry in zip(self.keepers, entries[1:], strict=True):
            keeper.keep(entry)
        return entries

    def push(self, entry):
        ask = lambda: self.collector.ask(entry, self.run.address, NAME)  # noqa: E731
        return self.run.push(entry.folder, NAME, entry.manifest, others=ask)

    def end(self):
        self.collector.end()
        for keeper in self.keepers:
            keeper.wait_for_end()


@pytest.fixture
def nodes(hub, bucket_id, tmp_path):
    nodes = Nodes(bucket_id, tmp_path)
    yield nodes
    nodes.end()


def test_every_disk_sends_its_own_and_the_checkpoint_is_committed_as_a_whole(nodes, hub):
    zero, *_ = nodes.save()

    nodes.push(zero)

    (committed,) = nodes.run.committed()
    assert committed.manifest.files.keys() == zero.manifest.files.keys()
    assert not nodes.run.verify(committed)


def test_what_is_committed_or_superseded_goes_on_every_disk(nodes):
    zero, *others = nodes.save()
    nodes.collector.drop(zero.manifest.push_id)
    nodes.end()

    assert not any(entry.place.exists() for entry in others)


def test_a_part_that_changed_on_disk_is_named_with_its_node_and_nothing_is_committed(nodes):
    zero, _, two = nodes.save()
    (two.folder / "rng_state_2.pth").write_bytes(b"something else")

    with pytest.raises(BucketError, match=r"checkpoint-2 lacks the part of two \(ranks 2, 3\): .*rng_state_2.pth"):
        nodes.push(zero)
    assert nodes.run.committed() == []


def test_a_failed_push_is_tried_again_by_all_disks(nodes, hub):
    zero, *_ = nodes.save()
    hub.fault(f"POST /api/buckets/{nodes.run.address.bucket_id}/batch", status=403)
    with pytest.raises(Exception, match="403"):
        nodes.push(zero)

    nodes.push(zero)

    assert [checkpoint.name for checkpoint in nodes.run.committed()] == [NAME]


def test_a_disk_that_could_not_keep_its_part_says_why(nodes):
    zero, *_ = nodes.save()
    nodes.keepers[0].fail(zero.manifest.push_id, OSError("No space left on device"))

    with pytest.raises(BucketError, match=r"one \(rank 1\): BucketError: .*No space left"):
        nodes.push(zero)


def test_a_node_that_is_silent_is_taken_for_dead(hub, bucket_id, monkeypatch):
    monkeypatch.setattr(parts, "SILENCE", 0.1)
    collector = PartCollector("127.0.0.1")
    collector.disks = [Disk([1], "one")]
    entry = type("Entry", (), {"manifest": Manifest(2, {}, push_id=PushId("writer", 1))})
    started = time.monotonic()

    with pytest.raises(BucketError, match=r"one \(rank 1\): nothing has been heard of it"):
        collector.ask(entry, BucketAddress(bucket_id), NAME)()
    assert time.monotonic() - started > 0.1  # not before


def test_what_an_earlier_process_left_is_whole_only_with_all_disks(nodes):
    zero, *_ = nodes.save()
    nodes.collector.left = {zero.manifest.push_id: {"rng_state_1.pth"}}
    assert not nodes.collector.has_all(zero)

    nodes.collector.left = {zero.manifest.push_id: {"rng_state_1.pth", "rng_state_2.pth"}}
    assert nodes.collector.has_all(zero)


def test_a_node_that_lives_and_gets_no_further_is_given_up(nodes, monkeypatch):
    monkeypatch.setattr(parts, "BEAT", 0.05)
    nodes.collector.timeout = 0.1
    zero, *_ = nodes.save()
    is_over = threading.Event()
    monkeypatch.setattr(CheckpointBucket, "push_part", lambda *args: is_over.wait() and {})

    try:
        with pytest.raises(BucketError, match=r"one \(rank 1\): no progress for .* s \(bucket_timeout=0.1\)"):
            nodes.push(zero)
    finally:
        is_over.set()


def test_what_a_node_has_read_is_known_while_it_reads(nodes, monkeypatch):
    zero, *_ = nodes.save()
    push_part, seen = CheckpointBucket.push_part, []

    def slowly(run, name, files, transfer):
        before, transfer.read = nodes.collector.read, 1000
        while nodes.collector.read == before:
            time.sleep(0.01)
        seen.append(nodes.collector.read)
        return push_part(run, name, files)

    monkeypatch.setattr(CheckpointBucket, "push_part", slowly)
    # One disk after the other: rank zero looks at one at a time.
    nodes.collector.disks = nodes.collector.disks[:1]
    with pytest.raises(BucketError, match="rng_state_2.pth is missing"):
        nodes.push(zero)
    assert seen[0] == 1000


def test_how_it_ended_is_known_on_all_disks(nodes):
    nodes.save()
    nodes.collector.end("BucketPushError: checkpoint-2 lacks a part")

    for keeper in nodes.keepers:
        with pytest.raises(BucketError, match="rank 0 failed: BucketPushError: checkpoint-2 lacks a part"):
            keeper.wait_for_end()
