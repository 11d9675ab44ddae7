"""`transformers-buckets ls`: checkpoints of a run, runs below a folder."""

import json
import re

from tests.hub.checkpoints import push_checkpoint, put
from tests.hub.cli.command import run


def test_ls_shows_every_checkpoint_and_its_state(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    code, out, err = run(capsys, "ls", address)

    assert (code, err) == (0, "")
    lines = [re.split(r"  +", line) for line in out.splitlines()]
    assert lines[0] == ["CHECKPOINT", "STEP", "COMMITTED AT (UTC)", "SIZE", "FILES", "BEST", "STATE"]
    assert [(line[0], line[1], line[3], line[4]) for line in lines[1:-1]] == [
        ("checkpoint-2", "2", "610.1 kB", "4"),
        ("checkpoint-4", "4", "610.1 kB", "4"),
        ("checkpoint-6", "6", "610.1 kB", "4"),
        ("checkpoint-8", "8", "7 B", "1"),
    ]
    assert lines[-1] == ["4 checkpoints, 1.8 MB"]
    states = [line[5:] for line in lines[1:-1]]
    assert states == [["best", "committed"], ["broken: optimizer.pt is missing"], ["committed"], ["unmarked"]]


def test_ls_for_machines(address, capsys):
    code, out, _ = run(capsys, "ls", address, "--json")

    content = json.loads(out)
    rows = content.pop("checkpoints")
    assert code == 0
    assert content == {"address": address, "runs": [], "size": sum(row["size"] for row in rows)}
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
    for which in ("checkpoint-2", "best"):
        content = json.loads(run(capsys, "ls", f"{address}/{which}", "--json")[1])
        assert [row["checkpoint"] for row in content["checkpoints"]] == ["checkpoint-2"]


def test_where_there_are_no_checkpoints_the_runs_below_are_listed(bucket_id, api, capsys, tmp_path):
    for prefix, steps in {"sweep/lr-1": [2, 4], "sweep/lr-2/run-0": [2], "other": [2]}.items():
        for step in steps:
            push_checkpoint(f"{bucket_id}/{prefix}", tmp_path / prefix / f"checkpoint-{step}")
    put(api, bucket_id, **{"sweep/data/text.txt": b"none", "sweep-2/checkpoint-1/model.safetensors": b"not committed"})

    code, out, _ = run(capsys, "ls", f"{bucket_id}/sweep")

    lines = [re.split(r"  +", line) for line in out.splitlines()]
    assert code == 0 and lines[0] == ["RUN", "CHECKPOINTS", "LAST COMMIT (UTC)", "SIZE"]
    found = [(line[0].removeprefix(f"hf://buckets/{bucket_id}/"), line[1]) for line in lines[1:-1]]
    assert found == [("sweep/lr-1", "2"), ("sweep/lr-2/run-0", "1")]
    assert lines[-1] == ["2 runs, 1.8 MB"]
    content = json.loads(run(capsys, "ls", bucket_id, "--json")[1])
    assert content["checkpoints"] == []
    assert [row["run"].rsplit("/", 1)[-1] for row in content["runs"]] == ["other", "lr-1", "run-0"]
