"""When things happen: order and gating, seen from inside."""

from concurrent.futures import Future
from pathlib import Path

import pytest
import transformers

from tests.training import tiny_trainer
from transformers_buckets import BucketTrainerMixin, Trainer
from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.bucket.files import SENTINEL_NAME


@pytest.fixture
def calls(mocker):
    """What a training does with the bucket, in order, without a bucket."""
    order = mocker.Mock()
    bucket = mocker.patch("transformers_buckets.trainer_bucket.CheckpointBucket").return_value
    bucket.address = BucketAddress("a/b")
    uploader = mocker.patch("transformers_buckets.trainer_bucket.Uploader").return_value
    uploader.commits, uploader.taken_over = [], None
    take_over = mocker.patch("transformers_buckets.saving.takeover.take_over", return_value=(None, False))
    order.attach_mock(take_over, "take_over")
    uploader.handover.hold.side_effect = lambda folder: mocker.Mock(folder=Path(folder))
    order.attach_mock(uploader.handover.hold, "hold")
    for name in ("seal", "enqueue", "push_logs", "finish"):
        order.attach_mock(getattr(uploader, name), name)
    return order


def names(calls) -> list[str]:
    return [name for name, _, _ in calls.mock_calls if "__" not in name]


def test_a_training_takes_over_then_saves_then_finishes(calls, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id="a/b", max_steps=4).train()

    assert names(calls) == ["take_over", *["hold", "seal", "enqueue"] * 2, "push_logs", "finish"]


def test_the_copy_is_taken_after_every_rank_has_written_and_before_rotation(calls, mocker, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id="a/b", max_steps=2, push_to_hub=False)
    calls.attach_mock(mocker.patch.object(trainer, "_save_rng_state"), "rank_writes")
    calls.attach_mock(mocker.patch.object(trainer.accelerator, "wait_for_everyone"), "barrier")
    trainer.train()

    seen = names(calls)
    assert seen.index("rank_writes") < seen.index("hold")
    assert "barrier" in seen[seen.index("rank_writes") : seen.index("hold")]


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint", "all_checkpoints"])
def test_transformers_pushes_first_and_the_bucket_waits_for_it(calls, mocker, tmp_path, strategy):
    futures = []

    def upload_folder(**kwargs):
        calls.upload_folder(kwargs.get("path_in_repo"))
        futures.append(Future())
        futures[-1].set_result(None)
        return futures[-1]

    api = mocker.patch("transformers.trainer.hf_api").return_value
    api.upload_folder.side_effect = upload_folder
    tiny_trainer(
        tmp_path / "out", bucket_id="a/b", max_steps=2, push_to_hub=True, hub_strategy=strategy, hub_always_push=True
    ).train()

    uploads = {
        "end": [],
        "every_save": [None],
        "checkpoint": [None, "last-checkpoint"],
        "all_checkpoints": [None, "checkpoint-2"],
    }[strategy]
    assert [call.args[0] for call in calls.upload_folder.mock_calls] == uploads
    assert names(calls) == [
        "take_over",
        "hold",
        *["upload_folder"] * len(uploads),
        "seal",
        "enqueue",
        "push_logs",
        "finish",
    ]
    assert list(calls.enqueue.call_args.kwargs["behind"]) == futures


def test_the_push_of_the_checkpoint_reads_the_copy_and_not_what_rotation_may_delete(calls, mocker, tmp_path):
    calls.hold.side_effect = lambda folder: mocker.Mock(folder=tmp_path / "copy" / Path(folder).name)
    (tmp_path / "copy" / "checkpoint-2").mkdir(parents=True)
    api = mocker.patch("transformers.trainer.hf_api").return_value
    api.upload_folder.return_value = Future()
    api.upload_folder.return_value.set_result(None)
    tiny_trainer(
        tmp_path / "out", bucket_id="a/b", max_steps=2, push_to_hub=True, hub_strategy="all_checkpoints"
    ).train()

    checkpoint_push = api.upload_folder.mock_calls[-1].kwargs
    assert checkpoint_push["folder_path"] == str(tmp_path / "copy" / "checkpoint-2")


@pytest.mark.parametrize("urgent", [False, True])
def test_a_save_on_sigterm_is_urgent(calls, tmp_path, urgent):
    trainer = tiny_trainer(tmp_path / "out", bucket_id="a/b")
    folder = tmp_path / "out" / "checkpoint-0"
    folder.mkdir(parents=True)
    if urgent:
        (folder / SENTINEL_NAME).touch()

    trainer._push_from_checkpoint(str(folder))

    assert calls.enqueue.call_args.kwargs["urgent"] is urgent


def test_a_disk_that_refuses_the_copy_does_not_stop_the_training(calls, tmp_path):
    calls.hold.side_effect = calls.seal.side_effect = lambda *args: None
    trainer = tiny_trainer(tmp_path / "out", bucket_id="a/b", max_steps=4)
    trainer.train()

    assert trainer.state.global_step == 4
    assert "enqueue" not in names(calls)


def test_only_world_rank_zero_pushes(calls, mocker, tmp_path):
    mocker.patch.object(Trainer, "is_world_process_zero", return_value=False)
    mocker.patch("transformers_buckets.trainer_bucket.together", side_effect=lambda work: [work() if work else None])
    trainer = tiny_trainer(tmp_path / "out", bucket_id="a/b", max_steps=2)
    trainer._push_from_checkpoint(str(tmp_path))

    assert names(calls) == []


def test_with_the_flag_off_nothing_of_ours_is_called(calls, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", push_to_bucket=False)
    trainer.train()
    trainer.save_model()

    assert names(calls) == []


def test_a_subclass_that_overrides_the_save_keeps_working(calls, tmp_path):
    class Custom(transformers.Trainer):
        def _save_checkpoint(self, model, trial):
            calls.custom_save()
            super()._save_checkpoint(model, trial)

    class BucketCustom(BucketTrainerMixin, Custom):
        pass

    tiny_trainer(tmp_path / "out", trainer_class=BucketCustom, bucket_id="a/b", max_steps=2).train()

    assert names(calls) == ["take_over", "custom_save", "hold", "seal", "enqueue", "push_logs", "finish"]


def test_the_wrong_order_of_bases_is_refused_with_the_right_one():
    with pytest.raises(TypeError, match=r"write class Wrong\(BucketTrainerMixin, Trainer\)"):

        class Wrong(transformers.Trainer, BucketTrainerMixin):
            pass
