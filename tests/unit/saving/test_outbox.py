"""Copies of checkpoints that wait for their push."""

import os
import shutil

import pytest

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.files import scan
from transformers_buckets.bucket.manifest import FileRecord, Manifest, Place, PushId
from transformers_buckets.saving.outbox import Outbox, detach, worth_pushing


RUN = "hf://buckets/demo/my-run"
WEIGHTS = b"weights" * 200_000  # enough to be linked rather than copied


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint-5"
    (folder / "global_step5").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "global_step5" / "rank-0.pt").write_bytes(b"state")
    return folder


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path, RUN)


def numbered(number: int) -> Manifest:
    files = {"model.safetensors": FileRecord(len(WEIGHTS))}
    return Manifest(5, files, run="mine", place=Place(1, number), push_id=PushId("me", number))


def contents(folder) -> dict[str, bytes]:
    return {path: file.read_bytes() for path, file in scan(folder).items()}


def test_a_copy_shares_the_data_and_takes_no_room(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    assert entry.folder.name == "checkpoint-5"
    assert os.path.samefile(checkpoint / "model.safetensors", entry.folder / "model.safetensors")
    assert contents(entry.folder) == contents(checkpoint)


def test_small_files_may_be_rewritten_in_place(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    (checkpoint / "global_step5" / "rank-0.pt").write_bytes(b"STATE")

    entry.check_unchanged()
    assert (entry.folder / "global_step5" / "rank-0.pt").read_bytes() == b"state"


def test_a_copy_follows_its_original_until_it_is_sealed(outbox, checkpoint):
    entry = outbox.fill(outbox.open("checkpoint-5"), scan(checkpoint))
    (checkpoint / "model.safetensors").write_bytes(WEIGHTS.upper())
    (checkpoint / "global_step5" / "rank-0.pt").unlink()
    (checkpoint / "eval.json").write_bytes(b"{}")

    entry = outbox.seal(outbox.fill(entry, scan(checkpoint)))

    entry.check_unchanged()
    assert contents(entry.folder) == contents(checkpoint)


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
    assert (entry.folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_full_disk_leaves_nothing_behind(outbox, checkpoint, mocker):
    mocker.patch("os.link", side_effect=OSError(95, "Operation not supported"))
    mocker.patch("shutil.copy2", side_effect=OSError(28, "No space left on device"))

    with pytest.raises(OSError, match="No space left"):
        outbox.add(scan(checkpoint), "checkpoint-5")

    assert list(outbox.folder.iterdir()) == []


def test_a_second_save_of_the_step_does_not_write_into_the_copy(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    detach(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(WEIGHTS.upper())

    entry.check_unchanged()
    assert (entry.folder / "model.safetensors").read_bytes() == WEIGHTS


def test_before_a_save_what_it_will_write_anew_goes_and_the_rest_stays(checkpoint):
    (checkpoint / "rng_state_1.pth").write_bytes(b"of two processes")
    (checkpoint / "checkpoint_manifest.json").write_bytes(b"{}")
    (checkpoint / "notes.txt").write_bytes(b"the user's own")

    detach(checkpoint)

    assert contents(checkpoint) == {"notes.txt": b"the user's own"}
    assert not (checkpoint / "checkpoint_manifest.json").exists()


@pytest.mark.parametrize("content", [WEIGHTS.upper(), b"more weights"], ids=["as many bytes", "fewer bytes"])
def test_writing_through_a_link_is_noticed(outbox, checkpoint, content):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    (checkpoint / "model.safetensors").write_bytes(content)

    with pytest.raises(BrokenCheckpointError, match="model.safetensors of checkpoint-5 changed on disk"):
        entry.check_unchanged()


@pytest.mark.parametrize("coarse", [100, 10**3, 10**9, 2 * 10**9])
def test_a_file_system_that_forgets_the_finer_part_of_a_time_is_no_writer(outbox, checkpoint, coarse):
    weights = checkpoint / "model.safetensors"
    os.utime(weights, ns=(0, 1_700_000_001_123_456_789))
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    os.utime(weights, ns=(0, 1_700_000_001_123_456_789 // coarse * coarse))

    outbox.check(entry)


def test_what_is_a_copy_may_get_another_time_also_for_the_next_process(outbox, checkpoint, mocker):
    mocker.patch("os.link", side_effect=OSError(95, "Operation not supported"))
    entry = outbox.add(scan(checkpoint), "checkpoint-5", numbered(7))
    for file in scan(entry.folder).values():
        os.utime(file)

    outbox.check(entry)
    outbox.release()
    (found,) = Outbox(checkpoint.parent, RUN).leftovers()
    outbox.check(found)
    (found.folder / "model.safetensors").write_bytes(b"not as long")
    with pytest.raises(BrokenCheckpointError, match="model.safetensors of checkpoint-5 changed on disk"):
        outbox.check(found)


def test_a_new_process_finds_what_was_left_oldest_first(outbox, checkpoint):
    second = outbox.add(scan(checkpoint), "run-0/checkpoint-5", numbered(8))
    first = outbox.add(scan(checkpoint), "checkpoint-5", numbered(7))

    outbox.release()
    found = Outbox(checkpoint.parent, RUN).leftovers()

    assert found == [first, second]
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

    assert Outbox(checkpoint.parent, RUN).leftovers() == []
    assert list(outbox.folder.iterdir()) == []


def test_copies_of_a_process_that_is_still_at_work_are_left_to_it(outbox, checkpoint, messages):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    assert Outbox(checkpoint.parent, RUN).leftovers() == []

    assert entry.folder.is_dir()
    assert "Another process" in messages()[0]


def test_what_waits_for_another_run_is_let_be_with_a_warning(outbox, checkpoint, messages):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    outbox.release()
    assert Outbox(checkpoint.parent, "hf://buckets/demo/another").leftovers() == []

    assert entry.folder.is_dir()
    assert len(messages()) == 1
    assert RUN in messages()[0]


def test_a_removed_copy_is_gone(outbox, checkpoint):
    entry = outbox.add(scan(checkpoint), "checkpoint-5")

    outbox.remove(entry)
    outbox.remove(entry)

    assert list(outbox.folder.iterdir()) == []
    assert (checkpoint / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("run", "latest", "worth"),
    [
        ("mine", None, True),
        ("mine", 6, True),
        ("mine", 7, False),
        ("mine", 8, False),
        ("another", None, False),
        (None, None, False),
    ],
)
def test_a_leftover_is_worth_its_push_unless_the_run_went_on_without_it(run, latest, worth):
    assert worth_pushing(numbered(7), run, latest and numbered(latest)) is worth
