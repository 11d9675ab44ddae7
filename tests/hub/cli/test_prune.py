"""`transformers-buckets prune`: what it keeps, what it says, and that it asks."""

import json

import pytest

from tests.hub.checkpoints import write_checkpoint
from tests.hub.cli.command import run
from tests.hub.contents import committed
from transformers_buckets import CheckpointBucket


@pytest.mark.parametrize("typed", [None, "", "n", "what?"])
def test_prune_shows_what_it_would_do_and_does_it_only_after_a_yes(address, bucket_id, capsys, answer, typed):
    if typed is not None:
        answer(typed)

    code, out, err = run(capsys, "prune", address, "--keep", 1)

    assert (code, out) == (2, f"To be deleted from {address}: checkpoint-4 (1 checkpoint, 610.1 kB)\n")
    assert "Nothing was changed" in err
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_prune_keeps_the_newest_and_the_best(address, bucket_id, capsys, answer):
    answer("y")

    code, out, _ = run(capsys, "prune", address, "--keep", 1)
    assert code == 0 and out.endswith("Deleted 1 checkpoint, 610.1 kB. 2 checkpoints left.\n")
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]
    code, out, _ = run(capsys, "prune", address, "--keep", 2, "--json", "--yes")
    assert (code, json.loads(out)) == (0, {"delete": [], "size": 0, "done": True})


def test_prune_keeps_what_any_of_its_options_keeps(bucket_id, capsys, tmp_path):
    losses = {4: 3.0, 8: 1.0, 10: 4.0, 12: 2.0, 14: 5.0, 16: 6.0}
    run_in_bucket = CheckpointBucket(bucket_id)
    run_in_bucket.create()
    history = []
    for step, loss in losses.items():
        folder = write_checkpoint(tmp_path / f"checkpoint-{step}")
        history.append({"eval_loss": loss, "step": step})
        state = json.loads((folder / "trainer_state.json").read_text())
        (folder / "trainer_state.json").write_text(json.dumps({**state, "log_history": history}))
        run_in_bucket.push(folder)

    everything = ["prune", bucket_id, "--keep", 1, "--keep-every", 5, "--keep-best", 2, "--metric"]
    code, _, err = run(capsys, *everything, "accuracy", "--yes")
    assert code == 1 and "the evaluations of this run have eval_loss" in err
    assert len(committed(bucket_id)) == 6

    code, out, _ = run(capsys, *everything, "loss", "--yes")
    assert code == 0 and "checkpoint-4, checkpoint-14 (" in out
    assert committed(bucket_id) == [f"checkpoint-{step}" for step in (8, 10, 12, 16)]
    run(capsys, "prune", bucket_id, "--keep-best", 1, "--metric", "eval_loss", "--greater-is-better", "--yes")
    assert committed(bucket_id) == ["checkpoint-16"]
