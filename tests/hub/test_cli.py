"""The command `transformers-buckets`: what it prints, what it changes, how it exits."""

import io
import json
import re
import subprocess
import sys

import pytest

from tests.hub.checkpoints import push_checkpoint, put
from tests.hub.contents import committed
from tests.training import digests
from transformers_buckets import local_hub
from transformers_buckets.cli import main


@pytest.fixture
def address(bucket_id, tmp_path):
    """A run with checkpoints 2, 4 and 6; 2 is the best."""
    for step in (2, 4, 6):
        push_checkpoint(bucket_id, tmp_path / "origin" / f"checkpoint-{step}", best="checkpoint-2")
    return f"hf://buckets/{bucket_id}"


@pytest.fixture
def answer(monkeypatch):
    """A terminal on which the user types something."""

    def answer(text: str) -> None:
        terminal = io.StringIO(f"{text}\n")
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", terminal)

    return answer


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_help_is_quick_for_it_imports_nothing_large():
    script = "import atexit, sys; from transformers_buckets.cli import main; "
    script += (
        "atexit.register(lambda: print({'torch', 'transformers', 'starlette'} & set(sys.modules))); main(['--help'])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert result.returncode == 0
    assert "prune" in result.stdout and result.stdout.endswith("set()\n")


def test_python_m_is_the_same_command():
    result = subprocess.run([sys.executable, "-m", "transformers_buckets", "ls"], capture_output=True, text=True)

    assert result.returncode == 2
    assert "usage: transformers-buckets ls" in result.stderr


def test_ls_shows_every_checkpoint_and_its_state(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    code, out, err = run(capsys, "ls", address)

    assert (code, err) == (0, "")
    lines = [re.split(r"  +", line) for line in out.splitlines()]
    assert lines[0] == ["CHECKPOINT", "STEP", "COMMITTED AT (UTC)", "SIZE", "FILES", "BEST", "STATE"]
    assert [(line[0], line[1], line[3], line[4]) for line in lines[1:]] == [
        ("checkpoint-2", "2", "610.1 kB", "4"),
        ("checkpoint-4", "4", "610.1 kB", "4"),
        ("checkpoint-6", "6", "610.1 kB", "4"),
        ("checkpoint-8", "8", "7 B", "1"),
    ]
    states = [line[5:] for line in lines[1:]]
    assert states == [["best", "committed"], ["broken: optimizer.pt is missing"], ["committed"], ["unmarked"]]


def test_ls_for_machines(address, capsys):
    code, out, _ = run(capsys, "ls", address, "--json")

    rows = json.loads(out)
    assert code == 0
    assert [row.pop("committed_at")[:2] for row in rows] == ["20"] * 3
    assert rows[0].pop("size") > 600_000
    assert rows[0] == {
        "checkpoint": "checkpoint-2",
        "step": 2,
        "files": 4,
        "best": True,
        "state": "committed",
        "problems": [],
    }
    assert [row["checkpoint"] for row in json.loads(run(capsys, "ls", f"{address}/checkpoint-4", "--json")[1])] == [
        "checkpoint-4"
    ]


@pytest.mark.parametrize(("which", "name"), [("", "checkpoint-6"), ("/checkpoint-4", "checkpoint-4")])
def test_pull_brings_the_latest_or_the_one_that_is_named(address, capsys, tmp_path, which, name):
    code, out, _ = run(capsys, "pull", address + which, "--output-dir", tmp_path / "here")

    assert (code, out) == (0, f"{tmp_path}/here/{name}\n")
    assert digests(tmp_path / "here" / name) == digests(tmp_path / "origin" / name)
    assert [path.name for path in (tmp_path / "here").glob("[!_]*")] == [name]


def test_verify_reads_every_byte(address, hub, capsys):
    assert run(capsys, "verify", address)[:2] == (0, "checkpoint-2: whole\ncheckpoint-4: whole\ncheckpoint-6: whole\n")

    hub.fault("GET /xorbs/", corrupt=True, times=None, skip=1)  # the manifest arrives
    code, out, _ = run(capsys, "verify", f"{address}/checkpoint-4", "--json")

    assert code == 1
    (result,) = json.loads(out)
    assert result["checkpoint"] == "checkpoint-4"
    assert "model.safetensors has another content (wrong hash)" in result["problems"]


def test_verify_of_a_checkpoint_that_is_not_committed_is_not_fine(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    assert run(capsys, "verify", f"{address}/checkpoint-8")[:2] == (1, "checkpoint-8: it has no manifest\n")
    code, out, _ = run(capsys, "verify", address)
    assert code == 1 and "checkpoint-4: optimizer.pt is missing\n" in out and "checkpoint-6: whole\n" in out


@pytest.mark.parametrize("typed", [None, "", "n", "what?"])
def test_prune_shows_what_it_would_do_and_does_it_only_after_a_yes(address, bucket_id, capsys, answer, typed):
    if typed is not None:
        answer(typed)

    code, out, err = run(capsys, "prune", address, "--keep", 1)

    assert (code, out) == (2, f"To be deleted from {address}: checkpoint-4\n")
    assert "Nothing was changed" in err
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_prune_keeps_the_newest_and_the_best(address, bucket_id, capsys, answer):
    answer("y")

    assert run(capsys, "prune", address, "--keep", 1)[0] == 0
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]
    code, out, _ = run(capsys, "prune", address, "--keep", 2, "--json", "--yes")
    assert (code, json.loads(out)) == (0, {"delete": [], "done": True})


def test_adopt_shows_what_it_would_commit_and_does_it_only_after_a_yes(address, bucket_id, api, capsys, answer):
    state = json.dumps({"best_model_checkpoint": "/x/checkpoint-2", "best_global_step": 2})
    put(api, bucket_id, **{"checkpoint-5/model.safetensors": b"by hand", "checkpoint-5/trainer_state.json": state})

    code, out, _ = run(capsys, "adopt", f"{address}/checkpoint-5")
    assert code == 2 and "2 files" in out and "7 B  model.safetensors" in out
    assert committed(bucket_id)[-1] == "checkpoint-6"

    code, out, _ = run(capsys, "adopt", f"{address}/checkpoint-5", "--yes", "--json")
    assert (code, json.loads(out)["done"]) == (0, True)
    assert committed(bucket_id)[-1] == "checkpoint-5"
    assert run(capsys, "prune", address, "--keep", 1, "--yes")[0] == 0
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-5"]


def test_adopt_takes_neither_committed_nor_broken_nor_half_written_ones(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/checkpoint-is-incomplete.txt": b"", "checkpoint-8/trainer_state.json": b"{}"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    for step in (2, 4, 8):
        code, _, err = run(capsys, "adopt", f"{address}/checkpoint-{step}", "--yes")
        assert code == 1 and "Only an unmarked one can be adopted" in err
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (1, ["ls", "demo/there-is-none"], "there is no such bucket"),
        (1, ["pull", "{address}/checkpoint-5"], "there are checkpoint-2, checkpoint-4, checkpoint-6"),
        (1, ["verify", "{address}/elsewhere"], "but the bucket has the folders checkpoint-2"),
        (1, ["ls", "{address}/elsewhere"], "holds no committed checkpoint"),
        (2, ["ls", "hf://models/demo/x"], "not the address of a bucket"),
        (2, ["prune", "{address}/checkpoint-4", "--keep", "1"], "names a checkpoint"),
        (2, ["adopt", "{address}"], "names no checkpoint"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(address, capsys, code, arguments, message):
    result = run(capsys, *(argument.format(address=address) for argument in arguments))

    assert result[:2] == (code, "")
    assert message in result[2] and result[2].startswith("transformers-buckets: ") and result[2].count("\n") == 1


def test_a_typo_in_an_option_is_wrong_usage(capsys):
    for arguments in (["prune", "demo/x"], ["prune", "demo/x", "--keep", "0"], ["lst", "demo/x"], []):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 2


def test_hub_hands_over_to_the_local_hub(mocker, monkeypatch, capsys):
    serve = mocker.patch.object(local_hub, "main", return_value=0)
    assert main(["hub", "--dir", "data", "--help"]) == 0
    serve.assert_called_once_with(["--dir", "data", "--help"])

    monkeypatch.setitem(sys.modules, "transformers_buckets.local_hub", None)
    assert main(["hub", "--dir", "data"]) == 1
    assert "pip install 'transformers_buckets[hub]'" in capsys.readouterr().err
