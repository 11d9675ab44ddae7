"""`transformers-buckets pull`: the latest, the best, one that is named, or the model alone."""

import json

import pytest

from tests.hub.checkpoints import push_checkpoint
from tests.hub.cli.command import run
from tests.training import digests


@pytest.mark.parametrize(
    ("which", "name"), [("", "checkpoint-6"), ("/checkpoint-4", "checkpoint-4"), ("/best", "checkpoint-2")]
)
def test_pull_brings_the_latest_or_the_one_that_is_named(address, capsys, tmp_path, which, name):
    code, out, _ = run(capsys, "pull", address + which, "--output-dir", tmp_path / "here")

    assert (code, out) == (0, f"{tmp_path}/here/{name}\n")
    assert digests(tmp_path / "here" / name) == digests(tmp_path / "origin" / name)
    assert [path.name for path in (tmp_path / "here").glob("[!_]*")] == [name]


@pytest.mark.parametrize(("which", "name"), [([], "checkpoint-6"), (["--best"], "checkpoint-2")])
def test_a_bucket_of_the_user_needs_no_namespace(address, bucket_id, capsys, tmp_path, which, name):
    alone = bucket_id.split("/")[1]

    assert run(capsys, "pull", alone, *which, "--output-dir", tmp_path)[:2] == (0, f"{tmp_path}/{name}\n")
    content = json.loads(run(capsys, "ls", f"{alone}/checkpoint-4", "--json")[1])
    assert [row["checkpoint"] for row in content["checkpoints"]] == ["checkpoint-4"]


def test_pull_brings_the_best_and_its_model_alone(address, capsys, tmp_path):
    code, out, _ = run(capsys, "pull", address, "--best", "--model-only", "--output-dir", tmp_path / "here", "--json")

    assert code == 0
    assert json.loads(out) == {"checkpoint": "checkpoint-2", "path": f"{tmp_path}/here/checkpoint-2"}
    original = digests(tmp_path / "origin" / "checkpoint-2")
    model = {"model.safetensors": original["model.safetensors"]}
    assert digests(tmp_path / "here" / "checkpoint-2") == model


def test_where_nobody_measured_there_is_no_best(bucket_id, capsys, tmp_path):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2")

    code, _, err = run(capsys, "pull", bucket_id, "--best")

    assert code == 1 and "knows no best checkpoint: checkpoint-2 names none" in err


def test_help_says_that_a_checkpoint_can_run_code(capsys):
    with pytest.raises(SystemExit):
        run(capsys, "pull", "--help")
    assert "pickles" in capsys.readouterr().out
