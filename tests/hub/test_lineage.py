"""The run goes on where it stands, whatever clocks say; and nothing that is not its own is touched."""

import json
import shutil
import sys
import threading

import pytest

from tests.hub.callbacks import At
from tests.hub.checkpoints import SIZES, push_checkpoint, put, write_checkpoint
from tests.hub.contents import bucket_files, committed, root_files
from tests.training import digests, same_weights, tiny_model, tiny_trainer
from transformers_buckets import (
    BucketAddressError,
    BucketError,
    CheckpointBucket,
    download_latest_checkpoint_from_bucket,
)


@pytest.fixture
def run(bucket_id, tmp_path):
    """A run with the checkpoints 2, 4 and 3, in this order."""
    for step in (2, 4, 3):
        push_checkpoint(bucket_id, tmp_path / "origin" / f"checkpoint-{step}")
    return CheckpointBucket(bucket_id)


def copy_run(api, source: str, target: str, order: list[str]) -> None:
    """As another tool copies a bucket: file by file, in an order of its own."""
    api.create_bucket(target, exist_ok=True)
    files = {file.path: file for file in api.list_bucket_tree(source, recursive=True) if file.type == "file"}
    for folder in order:
        copies = [
            ("bucket", source, file.xet_hash, path) for path, file in files.items() if path.split("/")[0] == folder
        ]
        api.batch_bucket_files(target, copy=copies)


@pytest.mark.parametrize("first", ["bucket_run.json", "checkpoint-3"])
def test_a_copy_of_a_run_stands_where_the_run_stands(api, run, bucket_id, first):
    rest = ["checkpoint-4", "checkpoint-2", "bucket_run.json", "checkpoint-3"]
    rest.remove(first)
    copy_run(api, bucket_id, f"{bucket_id}-copy", [first, *rest])

    assert CheckpointBucket(f"{bucket_id}-copy").latest().name == "checkpoint-3"
    assert CheckpointBucket(f"{bucket_id}-copy").prunable(1) == ["checkpoint-2", "checkpoint-4"]


def test_a_resume_from_an_older_checkpoint_becomes_the_latest(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True).train()

    branch = tiny_trainer(tmp_path / "branch", bucket_id=bucket_id, max_steps=3, save_steps=3)
    branch.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/checkpoint-2")

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-3"]
    latest = CheckpointBucket(bucket_id).latest()
    assert latest.manifest.previous == CheckpointBucket(bucket_id).find("checkpoint-2").manifest.push_id


def test_a_copy_of_an_old_checkpoint_with_new_times_does_not_make_a_run_go_back(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_always_push=True).train()
    shutil.copytree(
        tmp_path / "out" / "checkpoint-2", tmp_path / "node2" / "checkpoint-2", copy_function=shutil.copyfile
    )

    trainer = tiny_trainer(tmp_path / "node2", bucket_id=bucket_id, max_steps=8, bucket_total_limit=1)
    begun = []
    trainer.add_callback(At(on_train_begin=lambda state: begun.append(state.global_step)))
    trainer.train(resume_from_checkpoint="auto")

    assert begun == [6]
    assert committed(bucket_id) == ["checkpoint-8"]


def test_leftovers_do_not_go_over_what_was_pushed_by_hand(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=403, times=None)))
    with pytest.raises(BucketError):
        trainer.train()
    hub.clear_faults()
    by_hand = tiny_trainer(tmp_path / "by hand", push_to_bucket=False, max_steps=6, learning_rate=1e-2)
    by_hand.train()
    run = CheckpointBucket(bucket_id)
    for step in (4, 6):
        run.root.refresh(run.push(tmp_path / "by hand" / f"checkpoint-{step}"))

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id).train(resume_from_checkpoint="auto")

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "pulled")
    assert digests(pulled) == digests(tmp_path / "by hand" / "checkpoint-6")


def test_starting_over_is_starting_over(hub, api, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault("POST .*/batch", status=403, times=None)))
    with pytest.raises(BucketError):
        trainer.train()
    hub.clear_faults()
    for folder in (tmp_path / "out").glob("checkpoint-*"):
        shutil.rmtree(folder)
    api.delete_bucket(bucket_id)

    again = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=1, save_steps=1)
    again.train(resume_from_checkpoint="auto")

    assert committed(bucket_id) == ["checkpoint-1"]


def test_a_finished_run_stays_as_it_is(bucket_id, tmp_path, messages):
    first = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    first.train()
    before = CheckpointBucket(bucket_id).latest()

    again = tiny_trainer(tmp_path / "empty", bucket_id=bucket_id, model=tiny_model())
    output = again.train(resume_from_checkpoint="auto")

    assert output.global_step == 6
    assert "Training was finished at step 6; nothing to do." in messages()
    assert same_weights(again.model, first.model)
    assert CheckpointBucket(bucket_id).latest() == before


def test_a_default_name_does_not_join_the_run_of_another_project(bucket_id, tmp_path, api, messages, monkeypatch):
    name = bucket_id.split("/")[1]
    monkeypatch.setattr(sys, "argv", ["mine.py"])
    tiny_trainer(tmp_path / "a" / name, max_steps=2).train()

    with pytest.raises(BucketError, match="run of another project: it has parameters .*Set bucket_id"):
        tiny_trainer(tmp_path / "b" / name, model=tiny_model(hidden_size=64)).train(resume_from_checkpoint="auto")
    monkeypatch.setattr(sys, "argv", ["yours.py"])
    with pytest.raises(BucketError, match="it has script mine.py, this one has script yours.py"):
        tiny_trainer(tmp_path / "c" / name).train()
    monkeypatch.setattr(sys, "argv", ["mine.py"])
    tiny_trainer(tmp_path / "empty" / name, max_steps=4).train(resume_from_checkpoint="auto")

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert any(
        line.startswith(f"Joining the run in hf://buckets/{bucket_id}: last written by process") for line in messages()
    )


def test_whoever_asks_for_a_run_by_name_gets_it(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "a", bucket_id=bucket_id, max_steps=2).train()

    tiny_trainer(tmp_path / "b", bucket_id=bucket_id, max_steps=2, model=tiny_model(hidden_size=64)).train()

    assert committed(bucket_id) == ["checkpoint-2"]


def test_what_the_run_did_not_put_at_the_root_stays(api, bucket_id, tmp_path):
    foreign = {"model_final_2025.safetensors", "pytorch_model_ema.bin", "stage1/model.safetensors"}
    put(api, bucket_id, **{path: b"of somebody else" for path in foreign})

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.train()
    trainer.save_model()

    assert foreign <= bucket_files(bucket_id)
    assert "model.safetensors" in root_files(bucket_id)


def test_a_pull_sets_aside_what_is_of_another_run(run, tmp_path):
    theirs = write_checkpoint(tmp_path / "here" / "checkpoint-2", seed="theirs")
    before = digests(theirs)

    run.pull("checkpoint-2", tmp_path / "here")

    assert digests(theirs) == digests(tmp_path / "origin" / "checkpoint-2")
    (aside,) = (tmp_path / "here" / "_bucket" / "set_aside").iterdir()
    assert digests(aside) == before


def test_a_best_checkpoint_with_a_wrong_byte_keeps_the_rest(run, tmp_path):
    folder = run.pull("checkpoint-4", tmp_path / "here")
    (folder / "model.safetensors").write_bytes(bytes(SIZES["model.safetensors"]))

    run.pull("checkpoint-4", tmp_path / "here", only_model=True)

    assert digests(folder) == digests(tmp_path / "origin" / "checkpoint-4")


def test_two_pulls_into_one_folder_do_not_meet(hub, run, tmp_path):
    hub.hold("GET /xorbs/")
    paths, threads = [], []
    for step in (2, 2, 4):
        pull = threading.Thread(
            target=lambda step=step: paths.append(run.pull(f"checkpoint-{step}", tmp_path / "here"))
        )
        threads.append(pull)
        pull.start()
    hub.wait_for("GET /xorbs/")
    hub.release()
    for thread in threads:
        thread.join()

    assert len(paths) == 3
    for path in paths:
        assert digests(path) == digests(tmp_path / "origin" / path.name)


def test_an_address_of_a_checkpoint_means_that_one(run, bucket_id, tmp_path):
    path = download_latest_checkpoint_from_bucket(f"hf://buckets/{bucket_id}/checkpoint-4", tmp_path / "here")

    assert path == str(tmp_path / "here" / "checkpoint-4")
    with pytest.raises(BucketAddressError, match="names a checkpoint, not a run"):
        CheckpointBucket(f"hf://buckets/{bucket_id}/checkpoint-4")


@pytest.mark.parametrize("planted", ["_bucket", "_bucket/downloads", "_bucket/outbox", "_bucket/set_aside"])
def test_links_in_the_work_folder_are_refused(run, bucket_id, tmp_path, planted):
    outside, here = tmp_path / "outside", tmp_path / "here"
    outside.mkdir()
    (here / planted).parent.mkdir(parents=True)
    (here / planted).symlink_to(outside)

    with pytest.raises(BucketError, match="is a link"):
        run.pull("checkpoint-4", here)
    assert list(outside.iterdir()) == []


def test_a_link_among_what_an_interrupted_download_left_is_not_written_through(run, tmp_path):
    victim, here = tmp_path / "victim", tmp_path / "here"
    victim.write_text("the user's own")
    arriving = here / "_bucket" / "downloads" / "checkpoint-4"
    arriving.mkdir(parents=True)
    (arriving / "model.safetensors").symlink_to(victim)

    assert digests(run.pull("checkpoint-4", here)) == digests(tmp_path / "origin" / "checkpoint-4")
    assert victim.read_text() == "the user's own"


def test_the_work_folder_is_private(run, tmp_path):
    run.pull("checkpoint-4", tmp_path / "here")

    assert (tmp_path / "here" / "_bucket").stat().st_mode & 0o777 == 0o700


def test_the_file_of_a_run_says_who_writes_to_it(api, bucket_id, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2).train()

    api.download_bucket_files(bucket_id, [("bucket_run.json", tmp_path / "run.json")])
    fields = json.loads((tmp_path / "run.json").read_text())
    assert fields["latest"] == "checkpoint-2"
    assert set(fields["writer"]) == {"id", "claim", "host", "process", "since"}
    assert fields["writer"]["claim"] == 1


def test_what_is_pushed_by_hand_beside_a_training_has_one_place_in_the_run(bucket_id, tmp_path, api):
    by_hand = write_checkpoint(tmp_path / "checkpoint-100")

    def push(state):
        if state.global_step == 3:
            CheckpointBucket(bucket_id).push(by_hand)

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, save_steps=1, callbacks=[At(on_step_end=push)]).train()

    latest = CheckpointBucket(bucket_id).latest().name
    api.batch_bucket_files(bucket_id, delete=["bucket_run.json"])
    assert CheckpointBucket(bucket_id).latest().name == latest


def test_what_is_copied_in_beside_a_training_costs_it_nothing(bucket_id, tmp_path, api):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2).train()
    copy_run(api, bucket_id, f"{bucket_id}-copy", ["bucket_run.json", "checkpoint-2"])
    for steps in (4, 8):
        elsewhere = tiny_trainer(tmp_path / f"to-{steps}", bucket_id=f"{bucket_id}-copy", max_steps=steps)
        elsewhere.train(resume_from_checkpoint="auto")

    def copy(state):
        if state.global_step == 5:
            copy_run(api, f"{bucket_id}-copy", bucket_id, ["checkpoint-8"])

    trainer = tiny_trainer(
        tmp_path / "out", bucket_id=bucket_id, max_steps=6, bucket_total_limit=1, callbacks=[At(on_step_end=copy)]
    )
    trainer.train(resume_from_checkpoint="auto")

    assert set(committed(bucket_id)) == {"checkpoint-6", "checkpoint-8"}
    latest = CheckpointBucket(bucket_id).latest().name
    api.batch_bucket_files(bucket_id, delete=["bucket_run.json"])
    assert CheckpointBucket(bucket_id).latest().name == latest


def test_two_trainings_do_not_write_into_one_folder(bucket_id, tmp_path):
    def another(state):
        if state.global_step == 3:
            with pytest.raises(BucketError, match="Another training writes to .*out, and the two would mix"):
                tiny_trainer(tmp_path / "out", bucket_id=f"{bucket_id}-2").train()

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_step_end=another)]).train()
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8).train(resume_from_checkpoint="auto")

    assert committed(bucket_id)[-1] == "checkpoint-8"


def test_what_looks_like_a_checkpoint_inside_a_checkpoint_stays_there(bucket_id, tmp_path):
    def nest(state):
        folder = tmp_path / "out" / f"checkpoint-{state.global_step}"
        if state.global_step == 4:
            shutil.copytree(tmp_path / "out" / "checkpoint-2", folder / "checkpoint-2")
            (folder / "bucket_run.json").write_text("not that of the run")

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[At(on_save=nest)]).train()

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert CheckpointBucket(bucket_id).run_file().latest == "checkpoint-6"
