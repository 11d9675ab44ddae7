"""`save_model()` and `push_to_bucket()`, called by the user."""

import pytest
import transformers
from transformers import AutoModelForCausalLM

from tests.hub.callbacks import At, Pushes
from tests.hub.contents import bucket_files, committed, download, repo_files, root_files, uploaded_bytes
from tests.training import same_weights, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import BucketPushError, Trainer


def load_root(bucket_id, folder):
    download(bucket_id, root_files(bucket_id), folder)
    return AutoModelForCausalLM.from_pretrained(folder)


def test_save_model_brings_the_model_to_the_root(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.save_model()

    assert root_files(bucket_id) == {
        *("config.json", "generation_config.json", "model.safetensors", "training_args.bin", "README.md")
    }
    assert same_weights(load_root(bucket_id, tmp_path / "root"), trainer.model)


def test_a_model_is_pushed_from_a_folder_of_any_name_but_a_hidden_one(bucket_id, tmp_path, messages):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    for name in ("secret-sauce-7b", "_final", ".best", "checkpoint-6"):
        trainer.save_model(tmp_path / "out" / name)

    files = bucket_files(bucket_id)
    assert {"secret-sauce-7b/model.safetensors", "_final/model.safetensors"} <= files
    assert not any(path.startswith((".best", "checkpoint-")) for path in files)
    (told,) = [line for line in messages() if "is not pushed" in line]
    assert "/.best is not pushed: hidden" in told


def test_who_waits_for_the_current_push_waits_for_the_bucket(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    hub.fault("POST .*/batch", delay=0.3, times=None)
    trainer.push_to_bucket(blocking=False)

    trainer._finish_current_push()

    assert "model.safetensors" in root_files(bucket_id)


def test_push_to_bucket_pushes_what_is_in_memory_and_flushes_what_waits(hub, bucket_id, tmp_path):
    pushes = Pushes()
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[pushes])
    trainer.train()
    trainer.model.lm_head.weight.data.zero_()
    hub.fault("POST .*/batch", delay=0.3, times=None)

    trainer.push_to_bucket()

    assert pushes.begun == 4
    assert same_weights(load_root(bucket_id, tmp_path / "root"), trainer.model)
    assert committed(bucket_id)[-1] == "checkpoint-6"


def test_push_to_bucket_does_not_wait_if_told_so(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    hub.hold("POST .*/batch")
    try:
        trainer.push_to_bucket(blocking=False)
        assert root_files(bucket_id) == set()
    finally:
        hub.release()

    trainer.push_to_bucket()
    assert "model.safetensors" in root_files(bucket_id)


def test_a_push_of_the_root_that_fails_is_told(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    hub.fault("POST .*/batch", status=403, times=None)

    with pytest.raises(
        BucketPushError, match="the model .*403 Forbidden.*same training again on this disk to push it\\)"
    ):
        trainer.push_to_bucket()


@pytest.mark.parametrize("committed_before", [False, True])
def test_a_model_that_did_not_arrive_is_pushed_by_a_restart(hub, bucket_id, tmp_path, committed_before):
    """And what the run has gone on with since stays as it is."""

    def save(state):
        if state.global_step == 4:
            while committed_before and not committed(bucket_id):
                pass
            hub.fault("POST .*/batch", status=403, times=None)
            trainer.save_model(tmp_path / "out" / "mid")
            trainer.save_model()

    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        save_steps=2 if committed_before else 6,
        callbacks=[At(on_step_end=save)],
    )
    with pytest.raises(BucketPushError, match="the model"):
        trainer.train()
    hub.clear_faults()
    assert committed(bucket_id) == (["checkpoint-2"] if committed_before else [])

    restarted = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=8, save_steps=2)
    restarted.train(resume_from_checkpoint="auto")

    assert "mid/model.safetensors" in bucket_files(bucket_id)
    assert same_weights(load_root(bucket_id, tmp_path / "root"), restarted.model)


def test_save_model_with_both_targets_sends_every_byte_once(hub, bucket_id, tmp_path):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        model=tiny_model(vocab_size=1024),
        push_to_hub=True,
        hub_model_id=repo_id,
    )
    hub.clear_requests()
    trainer.save_model()

    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert 0.5 * size < uploaded_bytes(hub.requests()) < 1.5 * size
    assert "model.safetensors" in root_files(bucket_id)
    assert "model.safetensors" in repo_files(repo_id)


def test_save_model_in_the_middle_of_training(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.add_callback(At(on_step_end=lambda state: state.global_step == 3 and trainer.save_model()))
    trainer.train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert same_weights(load_root(bucket_id, tmp_path / "root"), trainer.model)


@pytest.mark.parametrize(
    "arguments_class", [transformers.TrainingArguments, None], ids=["plain arguments", "flag off"]
)
def test_push_to_bucket_works_once_without_the_flag(api, bucket_id, tmp_path, arguments_class):
    name = bucket_id.split("/")[1]
    if arguments_class:
        args = arguments_class(output_dir=str(tmp_path / name), report_to=[], use_cpu=True)
        trainer = Trainer(model=tiny_model(), args=args, train_dataset=tiny_dataset())
    else:
        trainer = tiny_trainer(tmp_path / name, push_to_bucket=False)

    trainer.push_to_bucket()

    assert trainer._bucket_id == bucket_id
    assert "model.safetensors" in root_files(bucket_id)


def test_a_model_that_could_not_be_copied_is_made_up_for_by_the_next_one(bucket_id, tmp_path, mocker):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    mocker.patch("shutil.copy2", side_effect=OSError(28, "No space left on device"))
    with pytest.raises(BucketPushError, match="the model .*No space left"):
        trainer.push_to_bucket()
    mocker.stopall()

    trainer.push_to_bucket()

    assert "model.safetensors" in root_files(bucket_id)
