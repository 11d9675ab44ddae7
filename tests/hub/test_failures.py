"""No failure is silent, none stops the training, and none loses the last checkpoint."""

import os
import re
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import _http

from tests.hub.callbacks import At, Saved
from tests.hub.contents import committed
from tests.slow import quick_only
from tests.training import digests, tiny_trainer
from transformers_buckets import BucketPushError, CheckpointBucket


BATCH = "POST .*/batch"
ARGUMENTS = "training_args.bin"
ALL = ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    """`huggingface_hub` waits up to 23 seconds before it gives a request up."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))


def assert_last_as_saved(bucket_id, saved: Saved, tmp_path) -> None:
    bucket = CheckpointBucket(bucket_id)
    assert "checkpoint-6" in committed(bucket_id)
    pulled, expected = digests(bucket.pull("checkpoint-6", tmp_path / "pulled")), saved.digests["checkpoint-6"]
    assert pulled | {ARGUMENTS: None} == expected | {ARGUMENTS: None}  # these leave without the token


@pytest.mark.parametrize(
    "fault",
    [
        dict(status=503),
        dict(status=429, headers={"Retry-After": "1"}),
        dict(cut="before"),
        dict(cut=5),
        dict(lose_response=True),
    ],
    ids=lambda fault: " ".join(f"{kind} {value}" for kind, value in fault.items() if kind != "headers"),
)
def test_a_storm_that_passes_is_survived(hub, bucket_id, tmp_path, fault):
    def storm(_state):
        for match in (
            BATCH,
            "POST .*/paths-info",
            "GET .*/xet-write-token",
            "POST /v1/xorbs",
            "POST /v2/shards",
            "/tree",
        ):
            hub.fault(match, times=2, **fault)

    saved = Saved()
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_always_push=True,
        callbacks=[saved, At(on_train_begin=storm)],
    )
    trainer.train()

    assert committed(bucket_id) == ALL
    assert_last_as_saved(bucket_id, saved, tmp_path)
    assert not (tmp_path / "out" / "_bucket" / "outbox").exists()


def test_a_failed_push_is_told_at_once_and_made_good_at_the_next_save(hub, bucket_id, tmp_path, messages):
    def wait_for_the_news(state):
        while state.global_step == 2 and not any(" failed: " in line for line in messages()):
            pass

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_always_push=True,
        callbacks=[
            At(on_train_begin=lambda _: hub.fault(BATCH, status=503, times=None), on_step_begin=wait_for_the_news),
            At(on_step_end=lambda state: state.global_step == 3 and hub.clear_faults()),
        ],
    )
    trainer.train()

    told = messages()
    failure = next(line for line in told if " failed: " in line)
    assert f"Pushing checkpoint-2 to hf://buckets/{bucket_id} failed: HfHubHTTPError: " in failure
    assert "503 Service Unavailable" in failure
    assert f"It stays in {tmp_path}/out/_bucket/outbox/" in failure
    assert "is tried again at the next save and at the end of training" in failure
    assert sorted(committed(bucket_id)) == ALL


def outage(hub, bucket_id, api, token) -> dict:
    """Ways in which a Hub can refuse for good, and how each is over."""
    return {
        "down": (lambda: hub.fault(BATCH, status=503, times=None), hub.clear_faults, "503 Service Unavailable"),
        "cut": (lambda: hub.fault("/xorbs/|/batch", cut="before", times=None), hub.clear_faults, "Error"),
        "expired token": (lambda: hub.revoke_token(token), lambda: None, "401 Unauthorized"),
        "deleted bucket": (lambda: api.delete_bucket(bucket_id), lambda: None, "Not Found|NotFound"),
        "quota": (lambda: hub.set_quota("demo", 1), lambda: hub.set_quota("demo", None), "[Qq]uota"),
    }


@pytest.mark.parametrize(
    "kind", quick_only(["down", "cut", "expired token", "deleted bucket", "quota"], "down", "cut", "deleted bucket")
)
def test_what_cannot_be_pushed_is_told_at_the_end_and_delivered_by_a_restart(
    hub, api, bucket_id, tmp_path, messages, kind
):
    token = hub.create_token("trainee", {"demo": "write"})
    begin, end, cause = outage(hub, bucket_id, api, token)[kind]
    saved = Saved()
    reached = []
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_token=token,
        callbacks=[saved, At(on_train_begin=lambda _: begin(), on_train_end=lambda s: reached.append(s.global_step))],
    )
    hub.clear_requests()
    try:
        with pytest.raises(BucketPushError) as error:
            trainer.train()
    finally:
        end()
    told = str(error.value)

    assert reached == [6], "the training itself must not suffer"
    # One that begins the training; then 15 attempts at most, at three saves and three times at the end, of 6 requests each.
    assert len(hub.requests(BATCH)) <= 1 + 15 * 6, "no busy loop"
    folder = re.search(r"It is in (\S+/checkpoint-6);", told)[1]
    assert digests(folder) == saved.digests["checkpoint-6"]
    assert f"transformers-buckets push {folder} hf://buckets/{bucket_id}" in told
    assert re.search(cause, told)
    for line in [told, *messages()]:
        assert token not in line
        assert "\n" not in line
    failures = [line for line in messages() if "failed" in line]
    assert any(re.search(cause, line) for line in failures)
    assert len(failures) < 20

    restarted = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8)
    restarted.train(resume_from_checkpoint=True)
    assert committed(bucket_id) == [*ALL, "checkpoint-8"]
    assert_last_as_saved(bucket_id, saved, tmp_path)
    assert not (tmp_path / "out" / "_bucket" / "outbox").exists()


def test_training_again_in_the_same_process_delivers_what_could_not_be_pushed(hub, bucket_id, tmp_path):
    saved = Saved()
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[saved])
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault(BATCH, status=503, times=None)))
    with pytest.raises(BucketPushError):
        trainer.train()
    hub.clear_faults()

    trainer.push_to_bucket()

    assert_last_as_saved(bucket_id, saved, tmp_path)


def test_an_earlier_failure_is_no_error_if_the_last_checkpoint_landed(hub, bucket_id, tmp_path, mocker, messages):
    mocker.patch("transformers_buckets.saving.outbox.Outbox.open", side_effect=OSError(28, "No space left on device"))

    def make_room(state):
        if state.global_step == 5:
            mocker.stopall()

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_step_end=make_room)])
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-6"]
    assert [line.split(":")[0] for line in messages() if "No space left" in line] == [
        f"checkpoint-{step} cannot be pushed to hf" for step in (2, 4)
    ]


def test_a_full_disk_at_the_last_save_is_told_at_the_end(hub, bucket_id, tmp_path, mocker):
    def fill(state):
        if state.global_step == 5:
            mocker.patch("os.link", side_effect=OSError(18, "Invalid cross-device link"))
            mocker.patch("shutil.copy2", side_effect=OSError(28, "No space left on device"))

    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, hub_always_push=True, callbacks=[At(on_step_end=fill)]
    )
    with pytest.raises(BucketPushError, match="checkpoint-6 .*No space left.* It is in .*/out/checkpoint-6 unless"):
        trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.parametrize("more", [{}, {"async_save": True}], ids=["ordinary", "async_save"])
def test_a_restart_goes_on_from_what_could_be_saved_but_not_copied(bucket_id, tmp_path, mocker, messages, more):
    def refuse(folder, *args, make=os.makedirs, **kwargs):
        if re.search("/outbox/.*/checkpoint-[46]$", str(folder)):
            raise OSError(30, "Read-only file system")
        return make(folder, *args, **kwargs)

    mocker.patch("os.makedirs", refuse)
    out, arguments = tmp_path / "out", dict(bucket_id=bucket_id, hub_always_push=True, **more)
    trainer = tiny_trainer(out, **arguments)
    with pytest.raises(BucketPushError, match="checkpoint-6 .*Read-only file system"):
        trainer.train()
    assert committed(bucket_id) == ["checkpoint-2"]
    told = [
        line.split(":")[0] for line in messages() if "Read-only file system" in line and "Training goes on" in line
    ]
    assert told == [f"checkpoint-{step} cannot be pushed to hf" for step in (4, 6)]
    mocker.stopall()

    restarted = tiny_trainer(out, max_steps=8, **arguments)
    restarted.train(resume_from_checkpoint="auto")

    assert any(f"Training goes on at step 6, from {out}/checkpoint-6" in line for line in messages())
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6", "checkpoint-8"]


def test_a_disk_too_full_for_the_logs_at_the_end_still_delivers_the_checkpoints(
    hub, bucket_id, tmp_path, mocker, messages
):
    def fill(state):
        (tmp_path / "out" / "notes.log").write_text("something for the root")
        mocker.patch("os.link", side_effect=OSError(18, "Invalid cross-device link"))
        mocker.patch("shutil.copy2", side_effect=OSError(28, "No space left on device"))

    hub.fault(BATCH, delay=0.5, times=3)
    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, hub_always_push=True, callbacks=[At(on_train_end=fill)]
    )
    trainer.train()  # logs are no reason to raise

    assert committed(bucket_id) == ALL
    assert any("the logs" in line and "No space left" in line for line in messages())
