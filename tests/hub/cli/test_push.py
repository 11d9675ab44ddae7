"""`transformers-buckets push`: what a failed push tells users to run."""

import json
import os
import re
import shlex

import pytest
import torch

from tests.hub.callbacks import At
from tests.hub.checkpoints import push_checkpoint, write_checkpoint
from tests.hub.cli.command import run
from tests.hub.contents import bucket_files, committed, download
from tests.training import tiny_arguments, tiny_trainer
from transformers_buckets import BucketPushError, CheckpointBucket


def test_push_does_what_the_error_of_a_failed_push_advises(bucket_id, api, hub, capsys, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault("POST /v1/xorbs/", status=403, times=None)))
    with pytest.raises(BucketPushError) as error:
        trainer.train()
    assert (
        "The token may not write here" in run(capsys, "push", tmp_path / "out" / "checkpoint-2", bucket_id, "--yes")[2]
    )
    hub.clear_faults()
    advice = shlex.split(re.search(r"transformers-buckets (push [^)]*)\)", str(error.value))[1])

    code, out, _ = run(capsys, *advice)

    assert code == 0 and f"Committed hf://buckets/{bucket_id}/checkpoint-2" in out
    assert committed(bucket_id) == ["checkpoint-2"]
    assert "model.safetensors" in {file.path for file in api.list_bucket_tree(bucket_id, recursive=False)}


def test_push_knows_the_best_checkpoint(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4", best="C:\\runs\\checkpoint-2")

    assert run(capsys, "push", folder, bucket_id, "--yes")[0] == 0
    assert json.loads(run(capsys, "ls", bucket_id, "--json")[1])["checkpoints"][0]["best"] is False
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", best="checkpoint-2")
    run(capsys, "push", folder, bucket_id, "--yes")
    assert [row["best"] for row in json.loads(run(capsys, "ls", bucket_id, "--json")[1])["checkpoints"]] == [
        True,
        False,
    ]


def test_push_does_not_let_a_token_out(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    torch.save(
        tiny_arguments(tmp_path / "out", hub_token="hf_secret", push_to_bucket=False), folder / "training_args.bin"
    )

    assert run(capsys, "push", folder, bucket_id, "--yes")[0] == 0

    for content in download(bucket_id, bucket_files(bucket_id), tmp_path / "all").values():
        assert b"hf_secret" not in content


def test_push_refuses_a_checkpoint_whose_state_holds_the_token(bucket_id, hub, capsys, tmp_path):
    token = os.environ["HF_TOKEN"]
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    (folder / "rng_state.pth").write_text(token)

    code, _, err = run(capsys, "push", folder, bucket_id, "--yes")

    assert code == 1 and "rng_state.pth holds your token" in err and token not in err
    assert not hub.requests("/xorbs/")


def test_push_takes_only_what_was_written_to_its_end(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    (folder / "trainer_state.json").unlink()

    assert run(capsys, "push", folder, bucket_id, "--yes")[0] == 1
    assert run(capsys, "push", write_checkpoint(tmp_path / "checkpoint-4").rename(tmp_path / "x"), bucket_id)[0] == 2


def test_push_asks_before_it_creates_a_bucket(bucket_id, api, capsys, answer, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4")

    code, out, err = run(capsys, "push", folder, bucket_id)
    assert (code, out) == (2, "")
    assert f"There is no bucket {bucket_id}. Create a new one" in err and "Nothing was changed" in err
    assert bucket_files(bucket_id) is None
    answer("y")
    code, out, err = run(capsys, "push", folder, bucket_id, "--private", "--json")

    assert f"There is no bucket {bucket_id}. Create a private one?" in err
    content = json.loads(out)
    assert (code, content.pop("size") > 600_000) == (0, True)
    assert content == {"checkpoint": "checkpoint-4", "files": 4, "done": True}
    assert api.bucket_info(bucket_id).private


def test_push_asks_before_it_overwrites_a_committed_checkpoint(address, bucket_id, capsys, answer, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4", seed="another")
    before = CheckpointBucket(bucket_id).find("checkpoint-4")

    code, _, err = run(capsys, "push", folder, address, "--private", "--yes")
    assert code == 1 and f"{bucket_id} is public already" in err
    answer("n")
    code, out, err = run(capsys, "push", folder, address, "--json")

    size = sum(file.stat().st_size for file in folder.iterdir())
    assert (code, json.loads(out)) == (2, {"checkpoint": "checkpoint-4", "files": 4, "size": size, "done": False})
    assert f"Overwrite {address}/checkpoint-4, which is committed?" in err
    assert CheckpointBucket(bucket_id).find("checkpoint-4") == before
    another = write_checkpoint(tmp_path / "checkpoint-5")
    assert run(capsys, "push", another, f"{address}/checkpoint-5")[0] == 0  # nothing there to ask about


def test_push_gives_no_checkpoint_the_name_of_another_step(address, bucket_id, capsys, tmp_path):
    for folder in (tmp_path / "origin" / "checkpoint-4", CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path)):
        code, _, err = run(capsys, "push", folder, f"{address}/checkpoint-77")
        assert code == 1 and f"{folder} is of step 4: push it as checkpoint-4, not -77" in err
    final = folder.rename(tmp_path / "final")
    (final / "checkpoint_manifest.json").unlink()
    assert run(capsys, "push", final, f"{address}/checkpoint-8")[0] == 1

    assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert run(capsys, "push", final, f"{address}/checkpoint-4", "--yes")[0] == 0
