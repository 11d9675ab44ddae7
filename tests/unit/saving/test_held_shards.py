"""Shards that are held at a save and written later; what ranks tell each other about it."""

import pickle
import threading
import warnings

import pytest
import torch
import torch.distributed.checkpoint as dcp

from transformers_buckets.bucket.errors import BucketError
from transformers_buckets.bucket.files import scan
from transformers_buckets.saving.held_shards import holding, write_shards
from transformers_buckets.saving.snapshot import Buffers
from transformers_buckets.saving.written import collect, tell, tell_failure


@pytest.fixture(autouse=True)
def alone():
    """torch warns that there is one process only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def state() -> dict:
    return {"weight": torch.arange(12.0).reshape(3, 4), "counts": torch.ones(3, dtype=torch.int64)[1:], "lr": 0.1}


def save(state: dict, folder) -> None:
    dcp.save(state_dict=state, storage_writer=dcp.FileSystemWriter(folder), planner=dcp.DefaultSavePlanner())


def later(held, tmp_path) -> None:
    write_shards(held, tmp_path, rank=0, world_size=1, timeout=lambda: 1.0)


def test_what_is_written_later_is_what_was_saved(tmp_path):
    save(state(), tmp_path / "usual")
    live = state()
    with holding(tmp_path, Buffers()) as held:
        save(live, tmp_path / "later")
    assert not list(tmp_path.glob("later/*.distcp")) and not (tmp_path / "later" / ".metadata").exists()

    live["weight"].zero_()
    live["counts"].zero_()
    later(held, tmp_path)

    usual, written = ((tmp_path / name / "__0_0.distcp").read_bytes() for name in ("usual", "later"))
    assert usual == written
    metadata = [pickle.loads((tmp_path / name / ".metadata").read_bytes()) for name in ("usual", "later")]
    for one in metadata:
        one.storage_meta = None  # an id of the save
    assert metadata[0] == metadata[1]


def test_what_cannot_be_copied_is_written_at_once(tmp_path):
    conjugate = torch.tensor([1 + 2j, 3 - 1j]).conj()  # a note on a tensor that has other numbers

    with holding(tmp_path, Buffers()) as held:
        save({"weight": conjugate}, tmp_path / "later")

    assert [shards.is_written_at_once for shards in held] == [True]
    assert (tmp_path / "later" / "__0_0.distcp").exists()
    later(held, tmp_path)
    loaded = {"weight": torch.zeros(2, dtype=torch.complex64)}
    dcp.load(loaded, checkpoint_id=tmp_path / "later")
    assert loaded["weight"].equal(conjugate)


def test_saves_of_others_are_none_of_it(tmp_path):
    with holding(tmp_path / "ours", Buffers()) as held:
        save(state(), tmp_path / "elsewhere")
        thread = threading.Thread(target=save, args=(state(), tmp_path / "ours" / "of-another-thread"))
        thread.start()
        thread.join()
    save(state(), tmp_path / "ours" / "afterwards")

    assert held == []
    for folder in ("elsewhere", "ours/of-another-thread", "ours/afterwards"):
        assert (tmp_path / folder / ".metadata").exists()


@pytest.fixture
def each_second(mocker):
    """Time goes on by a second with each wait, in which something happens."""
    clock = mocker.patch("transformers_buckets.saving.written.time")
    clock.monotonic.return_value = 0.0

    def begin(happens) -> None:
        def sleep(seconds: float) -> None:
            clock.monotonic.return_value += 1.0
            happens(clock.monotonic.return_value)

        clock.sleep = sleep

    return begin


def test_a_rank_is_waited_for_as_long_as_something_is_written(tmp_path, each_second):
    def write(second: float) -> None:
        (tmp_path / "__1_0.distcp").write_bytes(bytes(int(second)))
        if second == 30:
            tell(tmp_path, 1, ["theirs"])

    each_second(write)

    assert collect(tmp_path, [1], lambda: 5.0) == [["theirs"]]


def test_a_note_that_gets_its_name_while_one_looks(tmp_path, mocker):
    def look(folder):
        (folder / "written-1.part").touch()
        found = scan(folder)
        (folder / "written-1.part").unlink()
        tell(folder, 1, ["theirs"])
        return found

    mocker.patch("transformers_buckets.saving.written.scan", side_effect=look)

    assert collect(tmp_path, [1], lambda: 60.0) == [["theirs"]]


def test_a_rank_that_writes_nothing_is_given_up(tmp_path, each_second):
    each_second(lambda second: second < 30 or tell(tmp_path, 1, ["too late"]))

    with pytest.raises(BucketError, match="rank 1 has written nothing of its part of .* for 5 s"):
        collect(tmp_path, [1], lambda: 5.0)


def test_a_rank_that_failed_is_named(tmp_path):
    tell(tmp_path, 1, [])
    tell_failure(tmp_path, 2, OSError("disk full"))

    with pytest.raises(BucketError, match="rank 2 could not write its part of .*: OSError: disk full"):
        collect(tmp_path, [1, 2], lambda: 60.0)
