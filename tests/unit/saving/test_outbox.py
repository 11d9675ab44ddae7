"""Copies of checkpoints that wait for their push."""

import os
import shutil

import pytest

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.files import scan
from transformers_buckets.bucket.manifest import PushId
from transformers_buckets.saving.outbox import Outbox, OutboxEntry, detach, worth_pushing


RUN = "hf://buckets/demo/my-run"


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint-5"
    (folder / "global_step5").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "global_step5" / "rank-0.pt").write_bytes(b"state")
    return folder


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "_bucket" / "outbox", RUN)


def contents(folder) -> dict[str, bytes]:
    return {path: file.read_bytes() for path, file in scan(folder).items()}


def test_a_copy_shares_the_data_and_takes_no_room(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    assert entry.folder.name == "checkpoint-5"
    for path, file in scan(checkpoint).items():
        assert os.path.samefile(file, entry.folder / path)


def test_a_copy_outlives_its_original(outbox, checkpoint):
    before = contents(checkpoint)
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    shutil.rmtree(checkpoint)

    entry.check_unchanged()
    assert contents(entry.folder) == before


def test_where_links_are_impossible_the_content_is_copied(outbox, checkpoint, mocker):
    mocker.patch("os.link", side_effect=OSError(95, "Operation not supported"))

    entry = outbox.add(scan(checkpoint), "checkpoint-5")
    (checkpoint / "model.safetensors").write_bytes(b"changed")

    entry.check_unchanged()
    assert (entry.folder / "model.safetensors").read_bytes() == b"weights"


def test_a_full_disk_leaves_nothing_behind(outbox, checkpoint, mocker):
    mocker.patch("os.link", side_effect=OSError(95, "Operation not supported"))
    mocker.patch("shutil.copy2", side_effect=OSError(28, "No space left on device"))

    with pytest.raises(OSError, match="No space left"):
        outbox.add(scan(checkpoint), "checkpoint-5")

    assert list(outbox.folder.iterdir()) == []


def test_a_second_save_of_the_step_does_not_write_into_the_copy(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    detach(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"WEIGHTS")

    entry.check_unchanged()
    assert (entry.folder / "model.safetensors").read_bytes() == b"weights"


def test_detaching_leaves_files_alone_that_nobody_shares(checkpoint):
    before = contents(checkpoint)

    detach(checkpoint)

    assert contents(checkpoint) == before


@pytest.mark.parametrize("content", [b"WEIGHTS", b"more weights"])
def test_writing_through_a_link_is_noticed(outbox, checkpoint, content):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    (checkpoint / "model.safetensors").write_bytes(content)

    with pytest.raises(BrokenCheckpointError, match="model.safetensors of checkpoint-5 changed on disk"):
        entry.check_unchanged()


def test_a_new_process_finds_what_was_left_oldest_first(outbox, checkpoint):
    outbox.after = [PushId("earlier", 3), None]
    first = outbox.add(scan(checkpoint), "checkpoint-5", world_size=2, best_checkpoint="checkpoint-1")
    second = outbox.add(scan(checkpoint), "run-0/checkpoint-5")

    outbox.release()
    found = Outbox(outbox.folder, RUN).leftovers()

    assert found == [first, second]
    assert found[0].after == (PushId("earlier", 3), None)
    assert found[1].name == "run-0/checkpoint-5"
    assert contents(found[1].folder) == contents(checkpoint)


def test_a_process_does_not_take_its_own_copies_for_leftovers(outbox, checkpoint):
    outbox.add(scan(checkpoint), "checkpoint-5")

    assert outbox.leftovers() == []


def test_a_copy_that_is_not_complete_is_dropped(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")
    (entry.place / "entry.json").unlink()
    torn = outbox.add(scan(checkpoint), "checkpoint-5")
    (torn.place / "entry.json").write_text('{"name": "checkpoint-')
    outbox.release()

    assert Outbox(outbox.folder, RUN).leftovers() == []
    assert list(outbox.folder.iterdir()) == []


def test_copies_of_a_process_that_is_still_at_work_are_left_to_it(outbox, checkpoint, messages):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    assert Outbox(outbox.folder, RUN).leftovers() == []

    assert entry.folder.is_dir()
    assert "Another process" in messages()[0]


def test_what_waits_for_another_run_is_let_be_with_a_warning(outbox, checkpoint, messages):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    outbox.release()
    assert Outbox(outbox.folder, "hf://buckets/demo/another").leftovers() == []

    assert entry.folder.is_dir()
    assert len(messages()) == 1
    assert RUN in messages()[0]


def test_a_removed_copy_is_gone(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    outbox.remove(entry)
    outbox.remove(entry)

    assert list(outbox.folder.iterdir()) == []
    assert (checkpoint / "model.safetensors").read_bytes() == b"weights"


MINE, EARLIER, ELSEWHERE = PushId("mine", 4), PushId("earlier", 9), PushId("elsewhere", 1)


@pytest.mark.parametrize(
    ("after", "committed_last", "worth"),
    [
        ([EARLIER], EARLIER, True),
        ([None, EARLIER], EARLIER, True),
        ([EARLIER], PushId("mine", 3), True),
        ([EARLIER], PushId("mine", 4), False),
        ([EARLIER], PushId("mine", 5), False),
        ([EARLIER], ELSEWHERE, False),
        ([None], ELSEWHERE, False),
        ([EARLIER], None, False),
    ],
)
def test_a_leftover_is_worth_its_push_unless_the_run_went_on_without_it(tmp_path, after, committed_last, worth):
    leftover = OutboxEntry(tmp_path, "checkpoint-5", RUN, MINE, after, stamps={})

    assert worth_pushing(leftover, committed_last) is worth
