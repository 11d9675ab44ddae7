"""Which checkpoints stay in the bucket."""

from pathlib import Path

import pytest

from tests.hub.callbacks import Saved
from tests.hub.contents import bucket_files, committed
from tests.training import digests, tiny_dataset, tiny_trainer
from transformers_buckets import CheckpointBucket, keep_best, keep_every, keep_last


def checkpoints_in(bucket_id: str) -> set[str]:
    return {path.split("/")[0] for path in bucket_files(bucket_id) if path.startswith("checkpoint-")}


def train(folder, bucket_id, **arguments):
    trainer = tiny_trainer(
        folder, **{**dict(bucket_id=bucket_id, hub_always_push=True, save_steps=1, max_steps=5), **arguments}
    )
    trainer.train()
    return trainer


def test_all_stay_by_default_whatever_the_local_limit_is(bucket_id, tmp_path):
    train(tmp_path / "out", bucket_id, save_total_limit=1)

    assert committed(bucket_id) == [f"checkpoint-{step}" for step in range(1, 6)]
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-5"]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_newest_stay_whole_and_nothing_of_the_others_is_left(bucket_id, tmp_path, limit):
    train(tmp_path / "out", bucket_id, bucket_total_limit=limit)

    kept = ["checkpoint-4", "checkpoint-5"][-limit:]
    assert committed(bucket_id) == kept
    assert checkpoints_in(bucket_id) == set(kept)
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 5, "local disk has a limit of its own"


def test_the_best_stays(bucket_id, tmp_path):
    saved = Saved()
    trainer = train(
        tmp_path / "out",
        bucket_id,
        bucket_total_limit=1,
        max_steps=3,
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="loss",
        greater_is_better=True,  # so it is not the last one
        load_best_model_at_end=True,
        callbacks=[saved],
    )

    best = Path(trainer.state.best_model_checkpoint).name
    assert best != "checkpoint-3"
    assert committed(bucket_id) == [best, "checkpoint-3"]
    assert digests(CheckpointBucket(bucket_id).pull(best, tmp_path / "pulled")) == saved.digests[best]


def test_other_runs_and_what_is_not_committed_are_let_be(api, bucket_id, tmp_path):
    train(tmp_path / "one", f"{bucket_id}/expt-1")
    train(tmp_path / "root", bucket_id, max_steps=2)
    api.batch_bucket_files(bucket_id, add=[(b"by hand", "expt-10/checkpoint-1/model.safetensors")])
    others = {path for path in bucket_files(bucket_id)}

    train(tmp_path / "ten", f"{bucket_id}/expt-10", max_steps=4, save_steps=2, bucket_total_limit=1)

    assert committed(f"{bucket_id}/expt-10") == ["checkpoint-4"]
    assert others <= bucket_files(bucket_id)


def test_what_an_earlier_process_committed_counts(bucket_id, tmp_path):
    train(tmp_path / "first", bucket_id, max_steps=3)
    train(tmp_path / "second", bucket_id, max_steps=2, bucket_total_limit=2)

    assert committed(bucket_id) == ["checkpoint-1", "checkpoint-2"]
    assert checkpoints_in(bucket_id) == {"checkpoint-1", "checkpoint-2"}


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="bucket_total_limit=0: must be at least 1; leave it out to keep all"):
        tiny_trainer(tmp_path / "out", bucket_id="demo/x", bucket_total_limit=0)


def test_what_a_policy_keeps_stays(bucket_id, tmp_path, messages):
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_always_push=True,
        save_steps=1,
        max_steps=8,
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=1,
    )
    trainer.bucket_retention = [keep_last(2), keep_every(3), keep_best(1, "loss", greater_is_better=True)]
    trainer.train()

    losses = {log["step"]: log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log}
    kept = {max(losses, key=losses.get), 3, 6, 7, 8}
    assert len(kept) == 5, "the greatest loss is not among those that are kept anyway"
    assert committed(bucket_id) == [f"checkpoint-{step}" for step in sorted(kept)]


def test_a_policy_that_fails_deletes_nothing_and_is_told(bucket_id, tmp_path, messages):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True, bucket_total_limit=1)
    for wrong in (keep_last(2), 2, [2]):
        trainer.bucket_retention = wrong
        with pytest.raises(
            TypeError, match=r"bucket_retention = .*Write trainer.bucket_retention = \[keep_last\(2\)\]"
        ):
            trainer.train()
    assert trainer.state.global_step == 0

    def fails(candidates):
        """Typed wrongly, and then a sensible list of the wrong things."""
        return [candidate.nmae if len(candidates) < 3 else candidate.step for candidate in candidates]

    trainer.bucket_retention = (policy for policy in [fails])  # any list will do
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    told = [line for line in messages() if "Nothing is deleted from" in line]
    assert any("nmae" in line for line in told) and any("fails returned [2, 4, 6]" in line for line in told)
    assert not [line for line in messages() if "trying again" in line.lower()]
