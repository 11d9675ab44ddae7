"""A training that resumes on an empty machine is killed by SIGKILL in the middle of the download."""

import shutil
from itertools import count

import pytest
from transformers.trainer_utils import get_last_checkpoint

from tests.crash.checks import check_same_end
from tests.crash.life import Life, Machine, live
from tests.training import digests
from transformers_buckets.bucket.files import WORK_FOLDER


BUCKET_ID = "demo/killed-pulls"
RESUME = dict(resume=f"hf://buckets/{BUCKET_ID}/checkpoint-2", push_to_bucket=False)


@pytest.fixture(scope="module")
def whole(session_hub, tmp_path_factory):
    """A machine whose run came to its end, with checkpoint-2 and checkpoint-4 in the bucket."""
    session_hub.clear_faults()
    machine = Machine(tmp_path_factory.mktemp("whole"))
    live(machine, bucket_id=BUCKET_ID)
    return machine


def pull_again(machine, whole) -> None:
    """The next pull brings the checkpoint, whatever the one before left, and the training ends as it should."""
    live(machine, **RESUME)
    (saved,) = whole.saved("checkpoint-2")
    assert digests(machine.output_dir / "checkpoint-2") == saved
    assert not digests(machine.output_dir / WORK_FOLDER)
    check_same_end(machine, whole)


def pull_survives(hub, whole, folder, match, skip) -> bool:
    """Kill a pull at a request, look at the disk, pull again; whether it came so far."""
    machine = Machine(folder)
    life = Life(machine, **RESUME)
    hub.fault(match, kill=life.pid, skip=skip)
    life.go_on()
    outcome = life.end()
    hub.clear_faults()
    if outcome == "done":
        return False

    assert not machine.output_dir.exists() or get_last_checkpoint(machine.output_dir) is None
    pull_again(machine, whole)
    return True


@pytest.mark.parametrize("match", ["/reconstructions/", "GET /xorbs/"])
def test_a_killed_pull_leaves_nothing_half(hub, whole, tmp_path, match):
    assert pull_survives(hub, whole, tmp_path / "machine", match, skip=1)  # the first is that of the manifest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_request_of_a_pull_is_the_wrong_moment(hub, whole, tmp_path):
    for number in count():
        if not pull_survives(hub, whole, tmp_path / str(number), ".", number):
            break
    assert number > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_moment_on_the_local_disk_is_the_wrong_one_while_a_corrupt_copy_is_replaced(hub, whole, tmp_path):
    (saved,) = whole.saved("checkpoint-2")
    for number in count():
        machine = Machine(tmp_path / str(number))
        copy = machine.output_dir / "checkpoint-2"
        shutil.copytree(whole.output_dir / "checkpoint-2", copy)
        (copy / "model.safetensors").write_bytes(b"x" * (copy / "model.safetensors").stat().st_size)

        life = Life(machine, dies_at_disk_event=number, **RESUME)
        life.go_on()
        life.end()
        if digests(copy) == saved and not digests(machine.output_dir / WORK_FOLDER):
            break
        assert not copy.exists() or digests(copy).keys() == saved.keys()
        pull_again(machine, whole)
    assert number > 5
