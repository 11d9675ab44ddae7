"""`transformers-buckets rm`: what goes, what stays, and that it asks."""

import json

import pytest

from tests.hub.checkpoints import push_checkpoint, put
from tests.hub.cli.command import run
from tests.hub.contents import bucket_files, committed
from tests.training import tiny_trainer
from transformers_buckets import CheckpointBucket, CheckpointNotFoundError


def test_rm_deletes_one_checkpoint_after_a_yes(address, bucket_id, capsys, answer):
    code, out, err = run(capsys, "rm", f"{address}/checkpoint-4")
    assert code == 2 and "Nothing was changed" in err
    assert out.startswith(f"To be deleted from {address}: checkpoint-4 (5 files, 61")
    assert len(committed(bucket_id)) == 3

    answer("y")
    code, out, _ = run(capsys, "rm", f"{address}/checkpoint-4")
    assert code == 0 and out.splitlines()[-1].startswith("Deleted 5 files, 61")
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]
    assert not [path for path in bucket_files(bucket_id) if path.startswith("checkpoint-4/")]


def test_what_is_not_there_is_not_deleted_in_silence(address, bucket_id):
    run = CheckpointBucket(bucket_id)
    for name in ("checkpoint-99", "best", "../checkpoint-2", "checkpoint-4/../checkpoint-2", 2, run.latest()):
        with pytest.raises(CheckpointNotFoundError, match="there are checkpoint-2, |not the name of a checkpoint"):
            run.delete([name])
    with pytest.raises(CheckpointNotFoundError, match="'best' is not the name"):
        run.delete(["checkpoint-2", "best"])
    assert len(committed(bucket_id)) == 3

    run.delete("checkpoint-4")
    run.delete(["checkpoint-4", "checkpoint-6"], missing_ok=True)
    assert committed(bucket_id) == ["checkpoint-2"]


def test_rm_deletes_what_is_no_committed_checkpoint(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    for step in (4, 8):
        assert run(capsys, "rm", f"{address}/checkpoint-{step}", "--yes")[0] == 0
    left = {path.split("/")[0] for path in bucket_files(bucket_id) if path.startswith("checkpoint-")}
    assert left == {"checkpoint-2", "checkpoint-6"}


def test_rm_of_a_run_leaves_what_the_run_did_not_put_there(bucket_id, api, capsys, tmp_path):
    tiny_trainer(tmp_path / "out", bucket_id=f"{bucket_id}/expt-1", max_steps=2).train()
    push_checkpoint(f"{bucket_id}/expt-1/run-0", tmp_path / "checkpoint-2")
    push_checkpoint(f"{bucket_id}/expt-10", tmp_path / "checkpoint-2")
    put(api, bucket_id, **{"expt-1/notes.txt": b"mine", "expt-1/vectors.safetensors": b"mine", "own.txt": b"mine"})
    assert f"{bucket_id}/expt-1/model.safetensors".split("/", 2)[2] in bucket_files(bucket_id)

    code, out, err = run(capsys, "rm", f"{bucket_id}/expt-1", "--yes", "--json")

    result = json.loads(out)
    assert (code, result["checkpoints"], result["done"]) == (0, ["checkpoint-2"], True)
    assert "What else is there stays: notes.txt, run-0/, vectors.safetensors" in err
    left = {path for path in bucket_files(bucket_id) if not path.startswith(("expt-10/", "expt-1/run-0/"))}
    assert left == {"expt-1/notes.txt", "expt-1/vectors.safetensors", "own.txt"}
    assert committed(f"{bucket_id}/expt-10") == committed(f"{bucket_id}/expt-1/run-0") == ["checkpoint-2"]


def test_rm_of_a_mistyped_run_says_what_there_is(address, capsys):
    code, _, err = run(capsys, "rm", f"{address}/typo", "--yes")

    assert code == 1 and "but the bucket has the folders checkpoint-2" in err


def test_a_removal_that_is_cut_off_leaves_no_half_checkpoint_that_looks_whole(address, bucket_id, hub, capsys):
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", status=403, times=None, skip=1)  # the manifest goes

    assert run(capsys, "rm", f"{address}/checkpoint-4", "--yes")[0] == 1
    hub.clear_faults()
    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-6"]
