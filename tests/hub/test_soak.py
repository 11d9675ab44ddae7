"""Two thousand saves, with faults now and then, leave nothing behind."""

import os
import sys
import threading
from pathlib import Path

import pytest

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import tiny_trainer


SAVES = 2000
BATCH = "POST .*/batch"
# By what a process may grow that has only become warm: allocators and pools of connections keep a little more than they need.
SLACK = {"threads": 5, "files": 10, "memory": 64 * 1024 * 1024}


def used(out: Path) -> dict[str, int]:
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "memory": memory,
        "outbox": len(list(out.glob("_bucket/outbox/*"))),
        "locks": len(list(out.glob("_bucket/*.lock"))),
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_saves_leave_nothing_behind(hub, bucket_id, tmp_path):
    out = tmp_path / "out"
    after_hundred = {}

    def disturb(state):
        if state.global_step % 50 == 0:
            hub.fault(BATCH, status=503, times=1)
        if state.global_step % 170 == 0:
            hub.fault("POST /v1/xorbs", cut=5, times=1)
        if state.global_step == 100:
            trainer._bucket.wait()
            after_hundred.update(used(out))
        if state.global_step % 100 == 0:
            hub.clear_requests()

    trainer = tiny_trainer(
        out,
        bucket_id=bucket_id,
        max_steps=SAVES,
        save_steps=1,
        logging_steps=SAVES,
        save_total_limit=1,
        bucket_total_limit=2,
        callbacks=[At(on_save=disturb)],
    )
    trainer.train()

    at_the_end = used(out)
    assert committed(bucket_id)[-1] == f"checkpoint-{SAVES}"
    assert at_the_end["outbox"] == at_the_end["locks"] == 0
    grown = {what: at_the_end[what] - after_hundred[what] for what in SLACK}
    assert not {what: by for what, by in grown.items() if by > SLACK[what]}
