"""`python -m transformers_buckets run`: scripts that know nothing of buckets."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.ecosystem import tiny
from tests.hub.contents import committed, root_files
from transformers_buckets import BucketArguments, CheckpointBucket, TrainingArguments
from transformers_buckets.run import run


SCRIPTS = Path(__file__).parent / "scripts"
SHORT = ["--max_steps=4", "--save_steps=2", "--logging_steps=1", "--per_device_train_batch_size=4"]
QUIET = ["--report_to=none", "--disable_tqdm=True", "--use_cpu=True"]


def python(*arguments, cwd) -> str:
    """What a Python process says, on both streams."""
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.fixture
def model_folder(tmp_path) -> Path:
    """A configuration, random weights and a tokenizer, as a model repository has them."""
    folder = tmp_path / "tiny-llama"
    tiny.causal_lm().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def steps_trained(output: str) -> int:
    """How many steps a process logged a loss for."""
    return len(re.findall(r"'loss': ", output))


def test_a_script_like_run_clm_pushes_and_goes_on_in_a_fresh_folder(hub, bucket_id, model_folder, tmp_path):
    pytest.importorskip("datasets")
    text = tmp_path / "text.txt"
    text.write_text("\n".join(tiny.sentence(index) for index in range(64)))
    command = ["-m", "transformers_buckets", "run", SCRIPTS / "run_clm.py", f"--config_name={model_folder}"]
    command += [f"--tokenizer_name={model_folder}", f"--train_file={text}", "--do_train", *SHORT, *QUIET]
    command += ["--push_to_bucket", f"--bucket_id={bucket_id}", "--resume_from_checkpoint=auto"]

    first = python(*command, "--output_dir=first", cwd=tmp_path)
    second = python(*command, "--output_dir=second", "--max_steps=6", cwd=tmp_path)

    assert (steps_trained(first), steps_trained(second)) == (4, 2)
    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert {"model.safetensors", "tokenizer.json", "README.md"} <= root_files(bucket_id)


@pytest.mark.slow
def test_trl_s_own_script_pushes_and_goes_on_in_a_fresh_folder(hub, bucket_id, model_folder, tmp_path):
    pytest.importorskip("trl")
    (tmp_path / "data").mkdir()
    rows = [json.dumps({"text": tiny.sentence(index)}) for index in range(32)]
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(rows))
    command = ["-m", "transformers_buckets", "run", "-m", "trl.scripts.sft", f"--model_name_or_path={model_folder}"]
    command += ["--dataset_name=data", "--bf16=False", *SHORT, *QUIET]
    command += ["--push_to_bucket", f"--bucket_id={bucket_id}", "--resume_from_checkpoint=auto"]

    first = python(*command, "--output_dir=first", cwd=tmp_path)
    second = python(*command, "--output_dir=second", "--max_steps=6", cwd=tmp_path)

    assert (steps_trained(first), steps_trained(second)) == (4, 2)
    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert {"model.safetensors", "tokenizer.json", "README.md"} <= root_files(bucket_id)


TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "--local_addr=127.0.0.1"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes=1"]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "world_size"), [(TORCHRUN, 2), (ACCELERATE, 1)], ids=["torchrun", "accelerate"])
def test_under_a_launcher_a_script_that_never_reads_the_flag_resumes(hub, bucket_id, tmp_path, launcher, world_size):
    command = [*launcher, "-m", "transformers_buckets", "run", SCRIPTS / "plain.py", *SHORT, *QUIET]
    command += ["--push_to_bucket", f"--bucket_id={bucket_id}", "--resume_from_checkpoint=auto"]

    first = python(*command, "--output_dir=first", cwd=tmp_path)
    second = python(*command, "--output_dir=second", "--max_steps=6", cwd=tmp_path)

    assert (steps_trained(first), steps_trained(second)) == (4, 2)
    assert CheckpointBucket(bucket_id).latest().manifest.world_size == world_size
    assert committed(bucket_id)[-1] == "checkpoint-6"


@pytest.mark.slow
def test_whatever_way_a_script_imports_them_the_classes_can_use_buckets(tmp_path):
    pytest.importorskip("trl")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text((SCRIPTS / "imports.py").read_text())

    output = python("-m", "transformers_buckets", "run", "folder/script.py", "--a", "-b=c", cwd=tmp_path)

    assert json.loads(output.splitlines()[-1]) == {
        "argv": ["folder/script.py", "--a", "-b=c"],
        "path": str(tmp_path / "folder"),
        "file": str(tmp_path / "folder" / "script.py"),
        "main": True,
        "trainers without": [],
        "not a Trainer": [],
        "arguments without": [],
        "not TrainingArguments": [],
    }


@pytest.mark.slow
def test_a_script_with_flags_of_its_own_takes_those_for_buckets_in_front(hub, bucket_id, tmp_path):
    command = ["-m", "transformers_buckets", "run", "--push_to_bucket", f"--bucket_id={bucket_id}"]
    command += ["--resume_from_checkpoint=auto", SCRIPTS / "own_flags.py"]

    first = python(*command, "--steps=4", "--out=first", cwd=tmp_path)
    second = python(*command, "--steps=6", "--out=second", cwd=tmp_path)

    assert (steps_trained(first), steps_trained(second)) == (4, 2)
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.mark.slow
def test_flags_for_a_script_that_trains_otherwise_are_not_dropped_in_silence(tmp_path):
    (tmp_path / "script.py").write_text("print('trained')")

    output = python("-m", "transformers_buckets", "run", "--push_to_bucket", "script.py", cwd=tmp_path)

    assert output.startswith("trained\n[buckets] ")
    assert output.endswith("script.py made no TrainingArguments in this process: nothing was pushed.\n")


def test_help_says_where_the_flags_go(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])

    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "stand in front of the script" in out
    assert {f"--{field.name}" for field in fields(BucketArguments)} <= set(re.findall(r"--\w+", out))


def test_flags_in_front_are_read_as_the_arguments_take_them(tmp_path, mocker):
    replace, start = (mocker.patch(f"transformers_buckets.run.{name}") for name in ("replace_classes", "run_as_main"))
    (tmp_path / "script.py").touch()
    line = (
        "--push_to_bucket --bucket_id my-org/my-run --bucket_total_limit 3 --bucket_include *.png --bucket_include a/*"
    )
    line += f" --bucket_timeout 30 --async_save --keep_local False {tmp_path}/script.py --bucket_timeout of-the-script"

    run(line.split())

    (flags,) = replace.call_args.args
    args = TrainingArguments(output_dir=str(tmp_path), **flags)
    assert flags.keys() == {field.name for field in fields(BucketArguments)}
    assert (args.push_to_bucket, args.async_save, args.keep_local) == (True, True, False)
    assert (args.bucket_id, args.bucket_total_limit, args.bucket_timeout) == ("my-org/my-run", 3, 30.0)
    assert args.bucket_include == ["*.png", "a/*"]
    assert start.call_args.args[1] == [f"{tmp_path}/script.py", "--bucket_timeout", "of-the-script"]

    for program in (["-m", "this"], [f"{tmp_path}/script.py"]):  # what stands behind is its own, `--` too
        own = ["--epochs", "1", "--", "z", "--bucket_id", "x", "--", "y"]
        run([*program, *own])
        assert start.call_args.args[1][1:] == own
        run([*program, "--", "z"])
        assert start.call_args.args[1][1:] == ["--", "z"]

    run(["--no_keep_local", f"{tmp_path}/script.py"])
    assert replace.call_args.args == ({"keep_local": False},)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a script"),
        (["-m"], "name a script"),
        (["--push_to_bucket"], "name a script"),
        (["--no-such-flag", "script.py"], "--no-such-flag"),
        (["--push_to_bucket", "True", "script.py"], "takes no value: leave out True"),
        (["--bucket_timeout", "long", "script.py"], "invalid float value: 'long'"),
        (["no-such-script.py"], "there is no script no-such-script.py"),
        (["-m", "no.such.module"], "there is no module no.such.module"),
        (["-m", "transformers_buckets.no_such_module"], "there is no module transformers_buckets.no_such_module"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(argv, message, capsys, mocker):
    mocker.patch("transformers_buckets.run.replace_classes")  # of this process

    with pytest.raises(SystemExit) as stopped:
        run(argv)

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
