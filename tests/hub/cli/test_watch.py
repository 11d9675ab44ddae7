"""`transformers-buckets watch`: a command for every checkpoint that is committed."""

import json
from pathlib import Path

import pytest

from tests.hub.cli.command import run
from transformers_buckets import CheckpointBucket


EXEC = "echo {checkpoint} {step} {address} $(ls {path}) '{}' >> %s"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder to be in, that is not that of the checkpoints."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_command_gets_the_model_and_nothing_is_left_behind(address, here, capfd):
    code, _, _ = run(capfd, "watch", address, "--exec", EXEC % "log", "--timeout", 0)

    assert code == 0
    lines = [f"checkpoint-{step} {step} {address}/checkpoint-{step} model.safetensors {{}}" for step in (2, 4, 6)]
    assert (here / "log").read_text().splitlines() == lines
    assert [path.name for path in here.iterdir()] == ["log"]


def test_what_was_done_is_not_done_again_and_what_failed_is(address, here, capfd):
    watch = ["watch", address, "--seen", "seen.txt", "--timeout", 0, "--exec"]
    code, _, _ = run(capfd, *watch, "echo {step} >> log; test {step} != 4")
    assert code == 1

    code, out, _ = run(capfd, *watch, "echo {step} >> log; echo loud", "--json")

    assert code == 0
    assert (here / "log").read_text().split() == ["2", "4", "6", "4"]
    result = json.loads(out)
    assert (result["checkpoint"], result["step"], result["exit_code"]) == ("checkpoint-4", 4, 0)
    assert result["address"] == f"{address}/checkpoint-4"


def test_all_files_can_be_had_and_kept(address, here, capfd):
    code, out, _ = run(capfd, "watch", address, "--output-dir", "all", "--all-files", "--timeout", 0)

    assert (code, out.split()) == (0, [f"all/checkpoint-{step}" for step in (2, 4, 6)])
    assert (here / "all" / "checkpoint-2" / "optimizer.pt").is_file()


def test_without_a_command_it_prints_addresses_and_downloads_nothing(address, hub, here, capfd):
    code, out, _ = run(capfd, "watch", address, "--timeout", 0)

    assert (code, out.split()) == (0, [f"{address}/checkpoint-{step}" for step in (2, 4, 6)])
    assert list(here.iterdir()) == []


def test_what_is_deleted_before_its_turn_is_passed_over(address, bucket_id, here, capfd, mocker):
    find = CheckpointBucket.find

    def deleted_meanwhile(run, name):
        if name == "checkpoint-4":
            run.delete([name])
        return find(run, name)

    mocker.patch.object(CheckpointBucket, "find", deleted_meanwhile)
    code, out, _ = run(capfd, "watch", address, "--exec", "echo {step}", "--timeout", 0)

    assert code == 0
    assert out.split("\n")[0] == "2" and out.rstrip().endswith("6") and "checkpoint-4: passed over" in out
