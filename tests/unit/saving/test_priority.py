"""What works beside a training, where a system shows nobody its threads."""

import threading

from transformers_buckets.saving import priority


def test_without_proc_nobody_gives_way_and_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(priority, "_TASKS", tmp_path / "not mounted")
    failed = []

    def work():
        try:
            priority.give_way()
            priority.stop_giving_way()
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()

    assert not failed
