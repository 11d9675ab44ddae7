"""No wait for the Hub is endless, and none is silent."""

import copy
import pickle
import socket
from contextlib import closing

import pytest
from huggingface_hub import constants

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import same_weights, tiny_arguments, tiny_trainer
from transformers_buckets import BucketAccessError, BucketPushError, CheckpointBucket, cli
from transformers_buckets.bucket import patience
from transformers_buckets.saving import waiting


@pytest.fixture
def black_hole(monkeypatch):
    """A Hub that takes every connection and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """News after a moment instead of 20 seconds."""
    monkeypatch.setattr(patience, "FIRST_NEWS", 0.3)
    monkeypatch.setattr(patience, "LATER_NEWS", 0.3)
    monkeypatch.setattr(waiting, "FIRST_NEWS", 0.3)


def told(messages, text: str) -> list[str]:
    return [line for line in messages() if text in line]


def test_construction_at_a_hub_that_never_answers(black_hole, bucket_id, tmp_path, messages):
    with pytest.raises(BucketAccessError, match="does not answer .*bucket_timeout=1"):
        tiny_trainer(tmp_path / "out", bucket_id=bucket_id, bucket_timeout=1)

    assert len(told(messages, "The Hub has not answered for")) >= 2


def test_reading_at_a_hub_that_never_answers(black_hole, bucket_id, tmp_path):
    with pytest.raises(BucketAccessError, match="does not answer"):
        CheckpointBucket(bucket_id, timeout=1).latest()


def test_a_command_at_a_hub_that_never_answers(black_hole, bucket_id, monkeypatch, capsys, messages):
    monkeypatch.setattr(patience.PatientApi.__init__, "__defaults__", None, raising=False)
    monkeypatch.setattr(CheckpointBucket.__init__, "__defaults__", (None, 1.0))

    assert cli.main(["ls", bucket_id]) == 1
    assert "does not answer (TimeoutError: no answer for 1 s.)" in capsys.readouterr().err
    assert told(messages, "the attempt is given up") and not told(messages, "bucket_timeout")  # it has no such flag


@pytest.mark.parametrize("status", [503, 429, 500])
def test_construction_survives_what_passes(hub, bucket_id, tmp_path, status):
    hub.fault("POST /api/buckets/[^/]*/[^/]*$", status=status)
    hub.fault("GET .*/tree", status=status)

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id).train(resume_from_checkpoint="auto")

    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_a_push_that_is_not_answered_is_told_while_training_goes_on_and_given_up_at_the_end(
    hub, bucket_id, tmp_path, messages
):
    def wait_for_the_news(state):
        while state.global_step == 5 and not told(messages, "The Hub has not answered for"):
            pass

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        bucket_timeout=2,
        callbacks=[At(on_train_begin=lambda _: hub.hold("POST .*/batch"), on_step_end=wait_for_the_news)],
    )
    try:
        with pytest.raises(BucketPushError, match="checkpoint-6 .*no (answer|progress) .*bucket_timeout=2") as error:
            trainer.train()
    finally:
        hub.release()

    assert error.value.output.global_step == 6
    assert told(messages, "Waiting for the push to")


def test_the_last_wait_is_given_up_although_every_request_is_answered(hub, bucket_id, tmp_path):
    """A Hub that refuses at once would be asked again and again."""
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        bucket_timeout=1,
        callbacks=[At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=503, times=None))],
    )
    with pytest.raises(BucketPushError, match="checkpoint-6"):
        trainer.train()


def test_what_was_given_up_is_pushed_later_in_the_same_process(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        bucket_timeout=1,
        callbacks=[At(on_train_begin=lambda _: hub.hold("POST .*/batch"))],
    )
    try:
        with pytest.raises(BucketPushError):
            trainer.train()
    finally:
        hub.release()

    trainer.push_to_bucket()

    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_a_timeout_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="bucket_timeout=0.0: must be more than 0"):
        tiny_arguments(tmp_path / "out", bucket_id="a/b", bucket_timeout=0.0)


def test_after_an_error_at_the_end_the_model_is_there_and_the_result_too(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        callbacks=[At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=403, times=None))],
    )
    with pytest.raises(BucketPushError, match=f"The model is in {tmp_path}/out") as error:
        trainer.train()

    assert error.value.output.global_step == 6
    assert same_weights(type(trainer.model).from_pretrained(tmp_path / "out"), trainer.model)


def test_saving_the_model_in_a_callback_neither_waits_nor_raises_until_the_end(hub, bucket_id, tmp_path):
    reached = []

    def save(state):
        if state.global_step == 3:
            trainer.save_model()
        reached.append(state.global_step)

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        save_strategy="no",
        callbacks=[At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=403, times=None), on_step_end=save)],
    )
    with pytest.raises(BucketPushError, match="the model"):
        trainer.train()

    assert reached == [1, 2, 3, 4, 5, 6]


def test_logs_that_do_not_arrive_are_no_reason_to_raise(hub, bucket_id, tmp_path, messages):
    def write(_state):
        trainer._bucket.wait()
        (tmp_path / "out" / "all_results.json").write_text("{}")
        hub.fault("POST .*/batch", status=403, times=None)

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.add_callback(At(on_train_end=write))
    trainer.train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert told(messages, "the logs in")


def test_a_copy_of_a_trainer_trains_and_pushes(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)

    # Once a process has trained, torch keeps something in a trainer that cannot be pickled, with or without a bucket.
    assert pickle.loads(pickle.dumps(trainer._bucket)) is None
    copy.deepcopy(trainer).train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
