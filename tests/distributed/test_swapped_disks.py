"""Two nodes with disks of their own that change places: what one of them has is not what the other one reads."""

import pytest

from tests.distributed.launch import Launch


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def trained(hub, bucket_id, tmp_path, weights):
    launch = Launch("go_on.py", tmp_path, BUCKET=bucket_id, DISKS="0,1")
    assert launch.each("weights") == weights, launch.output
    (tmp_path / "report-0.json").unlink()
    (tmp_path / "report-1.json").unlink()
    return bucket_id


def test_they_go_on_from_the_bucket(trained, tmp_path, weights):
    launch = Launch("go_on.py", tmp_path, BUCKET=trained, DISKS="1,0", RESUME=f"hf://buckets/{trained}/checkpoint-2")

    assert launch.each("trained") == [2, 2], launch.output
    assert launch.each("weights") == weights


def test_a_folder_that_lacks_what_a_rank_reads_is_told_on_all_ranks_before_the_first_step(trained, tmp_path):
    launch = Launch("go_on.py", tmp_path, BUCKET=trained, DISKS="1,0", RESUME="out/checkpoint-2")

    on_zero, on_one = launch.each("error")
    assert "out/checkpoint-2 is not whole: it lacks" in on_zero and "rng_state_0.pth" in on_zero
    assert "out/checkpoint-2" in on_one and "rng_state" in on_one
    assert launch.status != 0
