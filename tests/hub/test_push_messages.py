"""What a user hears of pushes."""

import logging
import os
import re

import pytest

from tests.hub.callbacks import At, Pushes
from tests.hub.checkpoints import write_checkpoint
from tests.slow import quick_only
from tests.training import tiny_trainer


def test_one_line_for_each_committed_checkpoint(bucket_id, tmp_path, messages):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True).train()

    assert messages()[0] == f"Made the public bucket hf://buckets/{bucket_id}."
    for step, line in zip((2, 4, 6), messages()[1:], strict=True):
        pattern = rf"Committed hf://buckets/{bucket_id}/checkpoint-{step}: 8 files, [\d.]+ kB \([\d.]+ k?B new\) in [\d.]+ s\."
        assert re.fullmatch(pattern, line)


def test_what_the_hub_had_already_does_not_count_as_new(hub, bucket_id, tmp_path, messages):
    folder = write_checkpoint(tmp_path / "out" / "checkpoint-1", seed=os.urandom(8))
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    for _ in range(2):
        trainer._push_from_checkpoint(str(folder))
        trainer._bucket.wait()

    first, second = re.findall(r"4 files, .* \((.*) new\)", "\n".join(messages()))
    assert first.startswith("610.") and second == "0 B"


def test_nothing_is_said_when_buckets_are_off(tmp_path, messages, capfd):
    tiny_trainer(tmp_path / "out", push_to_bucket=False).train()

    assert messages() == []
    assert "[buckets]" not in capfd.readouterr().err
    assert not (tmp_path / "out" / "_bucket").exists()


@pytest.mark.parametrize(
    ("terminal", "disable_tqdm"), quick_only([(True, False), (True, True), (False, False)], (True, False))
)
def test_a_bar_is_drawn_in_a_terminal_only_while_training_waits_at_the_end(
    hub, bucket_id, tmp_path, capfd, mocker, terminal, disable_tqdm
):
    mocker.patch("transformers_buckets.saving.waiting.sys").stderr.isatty.return_value = terminal
    seen_while_training = []
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        disable_tqdm=disable_tqdm,
        callbacks=[At(on_train_end=lambda _: seen_while_training.append(capfd.readouterr().err))],
    )
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.5, times=None)
    trainer.train()

    assert "Pushing to" not in seen_while_training[0]
    assert ("Pushing to hf://buckets" in capfd.readouterr().err) is (terminal and not disable_tqdm)


@pytest.mark.parametrize(
    ("push_to_hub", "strategy"),
    [(False, "every_save"), (True, "every_save"), (True, "end"), (True, "all_checkpoints")],
)
def test_a_push_begins_once_per_save(bucket_id, tmp_path, push_to_hub, strategy):
    pushes = Pushes()
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        push_to_hub=push_to_hub,
        hub_model_id=f"demo/model-{bucket_id[-8:]}",
        hub_strategy=strategy,
        max_steps=4,
        callbacks=[pushes],
    )
    trainer.train()

    assert pushes.begun == 2


def test_messages_can_be_turned_off(bucket_id, tmp_path, capfd):
    logger = logging.getLogger("transformers_buckets")
    logger.setLevel(logging.ERROR)
    try:
        tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2).train()
    finally:
        logger.setLevel(logging.INFO)

    assert "Committed" not in capfd.readouterr().err
