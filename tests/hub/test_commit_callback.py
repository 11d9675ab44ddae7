"""`on_bucket_commit`: every commit once, on the training thread, after it is committed."""

import threading

import pytest

from tests.hub.contents import committed
from tests.training import tiny_trainer
from transformers_buckets import BucketCallback


class Heard(BucketCallback):
    def __init__(self):
        self.commits: list[tuple[str, int, int]] = []
        self.threads: set[str] = set()

    def on_bucket_commit(self, args, state, control, address, manifest, **kwargs):
        assert address.rsplit("/", 1)[1] in committed(address.removeprefix("hf://buckets/").rsplit("/", 1)[0])
        self.commits.append((address, manifest.step, state.global_step))
        self.threads.add(threading.current_thread().name)


def test_every_commit_is_heard_once(bucket_id, tmp_path):
    heard = Heard()
    tiny_trainer(tmp_path, bucket_id=bucket_id, hub_always_push=True, callbacks=[heard]).train()

    assert [commit[:2] for commit in heard.commits] == [
        (f"hf://buckets/{bucket_id}/checkpoint-{step}", step) for step in (2, 4, 6)
    ]
    assert heard.threads == {"MainThread"}


def test_a_hook_that_raises_ends_the_training_as_any_event_does(bucket_id, tmp_path):
    class Broken(BucketCallback):
        def on_bucket_commit(self, args, state, control, **kwargs):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tiny_trainer(tmp_path, bucket_id=bucket_id, max_steps=2, callbacks=[Broken()]).train()
    assert committed(bucket_id) == ["checkpoint-2"]


def test_without_buckets_nothing_is_heard(tmp_path):
    heard = Heard()
    tiny_trainer(tmp_path, push_to_bucket=False, callbacks=[heard]).train()
    assert heard.commits == []
