"""`transformers-buckets adopt`: what it shows, what it takes, and that it asks."""

import json

from tests.hub.checkpoints import put
from tests.hub.cli.command import run
from tests.hub.contents import committed


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
