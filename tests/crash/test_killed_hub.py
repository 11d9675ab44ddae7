"""The Hub is killed by SIGKILL in the middle of a push, and started again. The training never hears of it."""

from itertools import count

import pytest

from tests.crash.checks import check_delivered, check_latest, every_request
from tests.crash.life import Life, Machine
from transformers_buckets import CheckpointBucket


@pytest.fixture
def mortal_hub(hub):
    """The Hub of the session; it runs again afterwards, whatever happened."""
    yield hub
    hub.kill()
    hub.start()


def hub_dies_at(hub, bucket_id, folder, match, skip, applied) -> bool:
    """Train while the Hub is killed once, at a request after the first save; whether it came so far."""
    machine = Machine(folder)
    life = Life(machine, waits_at_save=True, bucket_id=bucket_id)
    hub.fault(match, kill=hub.pid, skip=skip, lose_response=applied)
    life.go_on()
    died = life.outlives(hub.pid)
    if died:
        hub.kill()
        hub.start()
        check_latest(bucket_id, machine)
    hub.clear_faults()
    assert life.end() == "done"
    check_delivered(bucket_id, machine, "checkpoint-4")
    assert [c.state for c in CheckpointBucket(bucket_id).checkpoints()] == ["committed", "committed"]
    return died


def test_a_killed_hub_costs_no_checkpoint(mortal_hub, bucket_id, tmp_path):
    assert hub_dies_at(mortal_hub, bucket_id, tmp_path, "/batch", skip=1, applied=True)  # a manifest, just written


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_request
def test_no_request_is_the_wrong_moment_for_the_hub_to_die(mortal_hub, bucket_id, tmp_path, match, applied):
    for number in count():
        if not hub_dies_at(mortal_hub, f"{bucket_id}-{number}", tmp_path / str(number), match, number, applied):
            break
    assert number > 12
