"""The last wait: what counts as progress."""

from types import SimpleNamespace

import pytest

from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.saving import waiting
from transformers_buckets.saving.waiting import Pending, Wait


class StuckLane:
    """Gives up one job after the other, or gets it done, and never comes to an end. A second passes at each look."""

    def __init__(self, gets_done: int):
        self.now, self.given_up, self.done, self._gets_done = 0.0, 0, 0, gets_done

    def pending(self) -> Pending:
        names = [f"checkpoint-{step}" for step in range(100 - self.given_up - self.done)]
        return Pending(names, len(names) * 1000, (self.done,))

    def flush(self, tick) -> list:
        while True:
            self.now += 1
            if self.done < self._gets_done:
                self.done += 1
            else:
                self.given_up += 1
            tick()


@pytest.mark.parametrize("gets_done", [0, 20])
def test_what_is_done_is_progress_and_what_is_given_up_is_none(monkeypatch, gets_done):
    lane = StuckLane(gets_done)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: lane.now))
    wait = Wait(BucketAddress.parse("demo/run"), lane.pending, timeout=5, show_bar=False)

    with pytest.raises(TimeoutError, match="no progress for 6 s"):
        wait.out([lane], interrupted=False, folder="out")

    assert lane.done == gets_done
