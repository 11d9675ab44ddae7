"""What pull request 1 promises, with `transformers.Trainer` of a patched tree. Skipped where transformers is not patched."""

import shutil

import pytest
import transformers
from huggingface_hub import HfApi
from transformers.utils import logging

from tests.hub.callbacks import At, Pushes
from tests.hub.contents import bucket_files, committed, repo_files
from tests.training import same_weights, tiny_trainer
from tests.upstream.patched import modules, shorten_waits
from tests.upstream.training import trainer_of
from transformers_buckets import CheckpointBucket


hf_buckets = pytest.importorskip("transformers.integrations.hf_buckets", reason="transformers is not patched")
ALL = ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.fixture(autouse=True)
def short_waits_in_transformers(monkeypatch):
    shorten_waits(monkeypatch.setattr)


@pytest.fixture
def told(caplog):
    """What the user was told, line by line."""
    logging.enable_propagation()
    yield lambda: [record.getMessage() for record in caplog.records if record.name in modules()]
    logging.disable_propagation()


@pytest.fixture
def whole(bucket_id, tmp_path):
    """A training that was never interrupted, with all of its checkpoints in the bucket."""
    trainer = trainer_of(tmp_path / "whole", bucket_id=bucket_id)
    trainer.train()
    return trainer


# ---- 1. Drop-in ----


def test_switched_off_nothing_is_asked_and_nothing_is_written(hub, tmp_path):
    trainer_of(tmp_path / "out", push_to_bucket=False, max_steps=2).train()

    assert hub.requests() == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-2"]
    assert not (tmp_path / "out" / "checkpoint-2" / "checkpoint_manifest.json").exists()


# ---- 2. Order ----


@pytest.mark.parametrize("strategy", ["end", "all_checkpoints"])
def test_the_model_repo_comes_first_and_never_silences_the_bucket(hub, bucket_id, tmp_path, strategy):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    hub_arguments = dict(push_to_hub=True, hub_model_id=repo_id, hub_strategy=strategy, hub_always_push=True)
    begins = At(on_step_begin=lambda state: hub.clear_requests())
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, max_steps=2, callbacks=[begins], **hub_arguments)
    hub.fault(f"POST /api/models/{repo_id}/commit", delay=0.3, times=2)  # the bucket has to wait for them
    trainer.train()

    pushes = hub.requests(f"POST /api/(models/{repo_id}/commit|buckets/{bucket_id}/batch)")
    to_repo = ["/commit/" in push.path for push in pushes]
    assert to_repo == sorted(to_repo, reverse=True)
    assert sum(to_repo) == (0 if strategy == "end" else 2)
    assert committed(bucket_id) == ["checkpoint-2"]
    assert ("checkpoint-2/optimizer.pt" in repo_files(repo_id)) == (strategy == "all_checkpoints")


def test_a_push_begins_once_per_save(bucket_id, tmp_path):
    pushes = Pushes()
    trainer_of(tmp_path / "out", bucket_id=bucket_id, callbacks=[pushes]).train()

    assert pushes.begun == 3


# ---- 4. Committed means whole ----


def test_every_checkpoint_is_committed_when_training_returns(bucket_id, whole, tmp_path):
    run = CheckpointBucket(bucket_id)

    assert committed(bucket_id) == ALL
    assert [run.verify(name) for name in ALL] == [[], [], []]
    assert run.latest().manifest.world_size == 1


def test_what_a_callback_adds_is_part_of_the_checkpoint(bucket_id, tmp_path):
    def add(state) -> None:
        (tmp_path / "out" / f"checkpoint-{state.global_step}" / "notes.txt").write_text("added")

    trainer_of(tmp_path / "out", bucket_id=bucket_id, max_steps=2, callbacks=[At(on_save=add)]).train()

    assert "notes.txt" in CheckpointBucket(bucket_id).latest().manifest.files


def test_what_cannot_be_resumed_from_is_not_committed_and_holds_up_no_other(bucket_id, tmp_path, told):
    def tear(state) -> None:
        if state.global_step == 4:
            (tmp_path / "out" / "checkpoint-4" / "rng_state.pth").unlink()

    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_save=tear)])
    try:
        trainer.train()
    except RuntimeError as error:
        assert "checkpoint-4" in str(error)

    assert [line for line in told() if "checkpoint-4 cannot be pushed" in line and "rng_state.pth" in line]
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]


def test_a_checkpoint_that_is_rotated_away_is_committed_all_the_same(hub, bucket_id, tmp_path):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, save_total_limit=1, hub_always_push=True)
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.2, times=None)
    trainer.train()

    assert committed(bucket_id) == ALL
    assert [run.name for run in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-6"]


# ---- 5. Nothing partial is resumed ----


@pytest.mark.parametrize("lost", ["checkpoint_manifest.json", "optimizer.pt"])
def test_a_checkpoint_that_is_not_whole_is_passed_over(bucket_id, whole, tmp_path, lost, told):
    HfApi().batch_bucket_files(bucket_id, delete=[f"checkpoint-6/{lost}"])
    resumed = trainer_of(tmp_path / "fresh", bucket_id=bucket_id, max_steps=4)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}")

    assert [line for line in told() if "checkpoint-6" in line and "passed over" in line.lower()]
    assert (tmp_path / "fresh" / "checkpoint-4").is_dir()
    assert not (tmp_path / "fresh" / "checkpoint-6").exists()


def test_a_download_that_breaks_off_leaves_nothing_that_looks_like_a_checkpoint(hub, bucket_id, whole, tmp_path):
    hub.fault("GET /.*xorbs", status=500, times=None)
    hub.fault("GET /v[12]/reconstructions", status=500, times=None)
    with pytest.raises(Exception):  # noqa: B017 huggingface_hub has its own names for it
        trainer_of(tmp_path / "fresh", bucket_id=bucket_id).train(resume_from_checkpoint=f"hf://buckets/{bucket_id}")

    assert not list((tmp_path / "fresh").glob("checkpoint-*"))


# ---- 6. and 7. The last one lands, and no failure is silent ----


def test_a_push_that_fails_is_told_and_made_good(hub, bucket_id, tmp_path, told):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id)
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", status=403, skip=2, times=2)
    trainer.train()

    assert [line for line in told() if line.startswith("Pushing checkpoint-") and "403" in line]
    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_what_is_missing_in_the_end_is_raised_when_the_model_is_trained(hub, bucket_id, tmp_path):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, max_steps=2)

    def refuse(state) -> None:
        hub.fault(f"POST /api/buckets/{bucket_id}/batch", status=403, times=None)

    trainer.add_callback(At(on_step_begin=refuse))
    with pytest.raises(RuntimeError, match="checkpoint-2"):
        trainer.train()

    assert trainer.state.global_step == 2
    assert (tmp_path / "out" / "checkpoint-2" / "model.safetensors").exists()


def test_what_was_missing_in_an_earlier_training_is_not_held_against_the_next(hub, bucket_id, tmp_path):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, max_steps=4)

    def refuse(state) -> None:
        hub.fault(f"POST /api/buckets/{bucket_id}/batch", status=403, times=None)

    refusal = At(on_step_begin=refuse)
    trainer.add_callback(refusal)
    with pytest.raises(RuntimeError, match="checkpoint-4"):
        trainer.train()
    hub.clear_faults()
    trainer.remove_callback(refusal)
    trainer.args.max_steps = 2
    trainer.train()

    run = CheckpointBucket(bucket_id)
    assert run.verify("checkpoint-2") == []


def test_an_exception_in_training_waits_for_the_last_push(hub, bucket_id, tmp_path):
    def break_off(state) -> None:
        if state.global_step == 3:
            raise ValueError("enough")

    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_step_end=break_off)])
    with pytest.raises(ValueError, match="enough"):
        trainer.train()

    assert committed(bucket_id) == ["checkpoint-2"]


def test_the_model_that_is_saved_goes_to_the_root(bucket_id, tmp_path):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.train()
    trainer.save_model()

    assert {"model.safetensors", "config.json", "README.md"} <= bucket_files(bucket_id)


def test_finish_current_push_waits_for_the_bucket(hub, bucket_id, tmp_path):
    trainer = trainer_of(tmp_path / "out", bucket_id=bucket_id, save_strategy="no", max_steps=1)
    trainer.train()
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.3, times=None)
    trainer.push_to_bucket(blocking=False)
    trainer._finish_current_push()

    assert "model.safetensors" in bucket_files(bucket_id)


# ---- 12. Resume is exact ----


@pytest.mark.parametrize("wanted", ["address", "checkpoint", "True"])
def test_resumed_on_an_empty_folder_it_is_as_if_never_interrupted(bucket_id, whole, tmp_path, wanted):
    HfApi().batch_bucket_files(bucket_id, delete=["checkpoint-6/checkpoint_manifest.json"])
    address = {"address": f"hf://buckets/{bucket_id}", "checkpoint": f"hf://buckets/{bucket_id}/checkpoint-2"}
    resumed = trainer_of(tmp_path / "fresh", bucket_id=bucket_id)
    resumed.train(resume_from_checkpoint=address.get(wanted, True))

    assert same_weights(resumed.model, whole.model)
    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_the_local_disk_is_ahead_where_the_last_push_is_missing(bucket_id, whole, tmp_path):
    CheckpointBucket(bucket_id).delete(["checkpoint-6"])
    state = tmp_path / "whole" / "checkpoint-6" / "optimizer.pt"
    saved = state.stat()
    resumed = trainer_of(tmp_path / "whole", bucket_id=bucket_id, max_steps=8)
    resumed.train(resume_from_checkpoint=True)

    assert resumed.state.log_history[-1]["step"] == 8
    assert (state.stat().st_ino, state.stat().st_mtime_ns) == (saved.st_ino, saved.st_mtime_ns)
    assert committed(bucket_id)[-1] == "checkpoint-8"


def test_the_best_one_is_found_on_another_machine(bucket_id, tmp_path):
    arguments = dict(load_best_model_at_end=True, eval_strategy="steps", eval_steps=2, greater_is_better=True)
    arguments |= dict(
        metric_for_best_model="eval_loss", bucket_id=bucket_id
    )  # the loss falls: the first one is the best
    first = trainer_of(tmp_path / "first", max_steps=4, **arguments)
    first.train()
    shutil.rmtree(tmp_path / "first")
    second = trainer_of(tmp_path / "second", max_steps=6, **arguments)
    second.train(resume_from_checkpoint=True)

    assert second.state.best_model_checkpoint == str(tmp_path / "second" / "checkpoint-2")
    assert same_weights(first.model, second.model)


def test_the_same_step_saved_again_replaces_the_one_before(bucket_id, whole, tmp_path):
    again = trainer_of(tmp_path / "whole", bucket_id=bucket_id, max_steps=4, learning_rate=1e-3)
    again.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")

    latest = CheckpointBucket(bucket_id).latest()
    assert latest.name == "checkpoint-4"
    assert not same_weights(again.model, whole.model)
    assert CheckpointBucket(bucket_id).verify(latest) == []


# ---- Beside the package ----


def test_our_own_trainer_on_a_patched_transformers_pushes_once(hub, bucket_id, tmp_path):
    pushes = Pushes()
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[pushes])
    trainer.train()

    assert pushes.begun == 3
    assert (trainer._bucket_id, trainer._hf_bucket) == (bucket_id, None)
    assert committed(bucket_id) == ALL


def test_transformers_is_the_patched_one():
    assert hf_buckets.__file__.startswith(transformers.__path__[0])
