"""No secret leaves this machine."""

import copy
import os
import socket
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, committed, download
from tests.training import tiny_arguments, tiny_trainer
from tests.unit.bucket.test_door import damaged
from transformers_buckets import BucketArguments, BucketPushError, CheckpointBucket, Trainer, TrainingArguments


@dataclass
class OwnArguments(BucketArguments, transformers.TrainingArguments):
    pass


def own_arguments(output_dir, **arguments) -> OwnArguments:
    return OwnArguments(output_dir=str(output_dir), use_cpu=True, **arguments)


def test_no_uploaded_file_holds_the_token(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token, hub_always_push=True)
    trainer.train()
    trainer.save_model()

    contents = download(bucket_id, bucket_files(bucket_id), tmp_path / "all")
    assert {"checkpoint-2/training_args.bin", "training_args.bin", "README.md"} <= set(contents)
    assert [path for path, content in contents.items() if token.encode() in content] == []
    assert not [line for line in messages() if token in line]
    assert trainer.args.hub_token == token, "the running training keeps it"


def test_with_both_targets_the_bucket_gets_no_token_either(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_token=token,
        push_to_hub=True,
        hub_model_id=f"demo/model-{bucket_id[-8:]}",
    )
    trainer.train()
    trainer.save_model()

    contents = download(bucket_id, bucket_files(bucket_id), tmp_path / "all")
    assert [path for path, content in contents.items() if token.encode() in content] == []


def test_training_args_stay_loadable(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token, learning_rate=0.125).train()

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "pulled")
    args = torch.load(pulled / "training_args.bin", weights_only=False)
    assert isinstance(args, TrainingArguments)
    assert args.learning_rate == 0.125
    assert args.hub_token is None


def test_on_local_disk_training_args_stay_as_transformers_wrote_them(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token).train()

    args = torch.load(tmp_path / "out" / "checkpoint-6" / "training_args.bin", weights_only=False)
    assert args.hub_token == token


def test_a_local_checkpoint_is_the_same_as_the_one_in_the_bucket_but_for_the_token(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token).train()
    hub.clear_requests()

    CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "out")

    assert "it is whole and the same" in messages()[-1]
    args = torch.load(tmp_path / "out" / "checkpoint-6" / "training_args.bin", weights_only=False)
    assert args.hub_token == token


@pytest.mark.parametrize("target", ["final", "deep/down/final", "."])
def test_a_model_saved_anywhere_below_the_run_leaves_without_the_token(hub, bucket_id, tmp_path, target):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token)
    trainer.save_model(tmp_path / "out" / target)

    path = f"{target}/training_args.bin".removeprefix("./")
    contents = download(bucket_id, bucket_files(bucket_id), tmp_path / "all")
    assert {path, path.replace("training_args.bin", "model.safetensors")} <= set(contents)
    assert [path for path, content in contents.items() if token.encode() in content] == []
    assert torch.load(tmp_path / "all" / path, weights_only=False).hub_token is None


def test_arguments_of_an_older_training_leave_without_its_token(hub, bucket_id, tmp_path):
    older = tiny_arguments(tmp_path / "out", push_to_bucket=False, hub_token="hf_another_token_of_long_ago")
    (tmp_path / "out" / "older").mkdir(parents=True)
    torch.save(older, tmp_path / "out" / "older" / "training_args.bin")
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, bucket_include=["older/*"]).train()

    content = download(bucket_id, {"older/training_args.bin"}, tmp_path / "all")["older/training_args.bin"]
    assert b"long_ago" not in content


def test_arguments_that_are_rewritten_while_the_root_waits_leave_without_the_token(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token)
    hub.clear_requests()
    hub.hold("POST .*/batch")
    trainer.push_to_bucket(blocking=False)
    hub.wait_for("POST .*/batch")
    trainer.push_to_bucket(blocking=False)
    args = copy.copy(trainer.args)
    args.learning_rate = 0.5
    with open(tmp_path / "out" / "training_args.bin", "r+b") as file:  # in place: through every link to it
        torch.save(args, file)
    hub.release()
    trainer.push_to_bucket()

    content = download(bucket_id, {"training_args.bin"}, tmp_path / "all")["training_args.bin"]
    assert token.encode() not in content


def test_a_file_with_the_token_is_held_back_and_the_rest_goes(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})

    def leave(state):
        out = tmp_path / "out"
        (out / "eval_results.json").write_text(f'{{"by": "{token}"}}')
        (out / "all_results.json").write_text("{}")
        (out / "runs").mkdir(exist_ok=True)
        (out / "runs" / f"{token}.log").touch()
        (out / "runs" / "shell.log").write_text(token, encoding="utf-16")
        (out / "runs" / "damaged.zip").write_bytes(damaged())
        (out / f"checkpoint-{state.global_step}" / "notes.json").write_text(token)

    class Leaving(Trainer):
        def _save_rng_state(self, output_dir):
            super()._save_rng_state(output_dir)
            leave(self.state)

    trainer = tiny_trainer(tmp_path / "out", Leaving, bucket_id=bucket_id, hub_token=token, max_steps=2)
    trainer.train()
    trainer.save_model()

    assert committed(bucket_id) == ["checkpoint-2"]
    files = bucket_files(bucket_id)
    assert {"all_results.json", "runs/damaged.zip", "model.safetensors", "README.md"} <= files
    assert not {"eval_results.json", "checkpoint-2/notes.json", "notes.json", "runs/shell.log"} & files
    assert not [path for path in files if token in path]
    run_file = download(bucket_id, {"bucket_run.json"}, tmp_path / "all")["bucket_run.json"]
    assert b"damaged.zip" in run_file and b"shell.log" not in run_file and token.encode() not in run_file
    told = [line for line in messages() if "holds your token" in line]
    assert any("/eval_results.json is not uploaded" in line for line in told)
    assert any("checkpoint-2/notes.json is not uploaded" in line for line in told)
    assert not [line for line in messages() if token in line]


def test_a_checkpoint_that_cannot_do_without_such_a_file_is_refused_and_told(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})

    class Boastful(Trainer):
        def _save_rng_state(self, output_dir):
            super()._save_rng_state(output_dir)
            with zipfile.ZipFile(f"{output_dir}/optimizer.pt", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("archive/data.pkl", token)

    trainer = tiny_trainer(tmp_path / "out", Boastful, bucket_id=bucket_id, hub_token=token, max_steps=2)
    with pytest.raises(BucketPushError, match="optimizer.pt holds your token for the Hub") as error:
        trainer.train()

    assert committed(bucket_id) == []
    assert any("optimizer.pt holds your token" in line for line in messages())
    told = str(error.value)
    assert token not in told
    assert f"set aside in {tmp_path}/out/_bucket/set_aside/not_pushed/checkpoint-2" in told
    assert "run the same training again" not in told, "it would be refused again"


def test_the_folder_of_a_whole_project_gives_only_what_the_training_makes(hub, bucket_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = [
        "secrets.yaml",
        "train.py",
        "venv/pyvenv.cfg",
        "venv/lib/config.json",
        ".env",
        "data/train.csv",
        "eval/questions.jsonl",
        "eval/evaluate.py",
        "logs/__init__.py",
        "notes.txt",
    ]
    keys = [
        "id_rsa",
        "server.pem",
        ".hidden.png",
        "private_key.json",
        "service-account.json",
        "api_keys.json",
        "token.txt",
    ]
    keys = [
        f"plots/{key}" for key in [*keys, "kubeconfig.yaml", "ssh_host_rsa_key.txt", ".htpasswd", "authorized_keys"]
    ]
    for path in [*others, *keys, "plots/loss.png"]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("mine")
    trainer = tiny_trainer(".", bucket_id=bucket_id, bucket_include=["plots/*", "venv/*"])
    trainer.train()
    trainer.save_model("final")

    files = {path for path in bucket_files(bucket_id) if not path.startswith("checkpoint-")}
    assert {"plots/loss.png", "final/model.safetensors", "model.safetensors", "README.md"} <= files
    assert not set(others + keys) & files


def test_a_socket_a_pipe_and_an_unreadable_file_hold_up_nothing(hub, bucket_id, tmp_path):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    os.mkfifo(out / "runs" / "pipe.log")
    (out / "runs" / "dangling.log").symlink_to("nowhere")
    (out / "runs" / "locked.log").write_text("for root only")
    (out / "runs" / "locked.log").chmod(0)
    (out / "all_results.json").write_text("{}")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(out / "runs")  # the path of a socket must be short
        try:
            listener.bind("socket.log")
        finally:
            os.chdir(here)
        tiny_trainer(out, bucket_id=bucket_id).train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    files = bucket_files(bucket_id)
    assert "all_results.json" in files
    assert not {"runs/pipe.log", "runs/dangling.log", "runs/socket.log"} & files


@pytest.mark.parametrize("arguments", [tiny_arguments, own_arguments], ids=["ready made", "mixed in"])
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_the_arguments_do_not_show_the_token(tmp_path, arguments, on):
    args = arguments(tmp_path / "out", hub_token="hf_of_nobody", push_to_bucket=on)

    assert "hf_of_nobody" not in repr(args) + str(args)
    assert repr(args).startswith(type(args).__name__)


def test_a_token_in_the_name_of_a_file_goes_nowhere(bucket_id, tmp_path, messages, api):
    token = os.environ["HF_TOKEN"]
    leak = At(on_save=lambda state: (tmp_path / "out" / f"checkpoint-{state.global_step}" / f"{token}.txt").touch())
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2, callbacks=[leak]).train()

    assert committed(bucket_id) == ["checkpoint-2"]
    assert not [path for path in bucket_files(bucket_id) if token in path]
    assert not [line for line in messages() if token in line]
    api.download_bucket_files(bucket_id, [("checkpoint-2/checkpoint_manifest.json", tmp_path / "manifest")])
    assert token not in (tmp_path / "manifest").read_text()
