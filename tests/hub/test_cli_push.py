"""`transformers-buckets push`: what a failed push tells users to run."""

import json
import os
import re
import shlex

import pytest
import torch

from tests.hub.callbacks import At
from tests.hub.checkpoints import push_checkpoint, write_checkpoint
from tests.hub.contents import bucket_files, committed, download
from tests.hub.test_cli import run
from tests.training import tiny_arguments, tiny_trainer
from transformers_buckets import BucketPushError


def test_push_does_what_the_error_of_a_failed_push_advises(bucket_id, api, hub, capsys, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.add_callback(At(on_train_begin=lambda _: hub.fault("POST /v1/xorbs/", status=403, times=None)))
    with pytest.raises(BucketPushError) as error:
        trainer.train()
    hub.clear_faults()
    advice = shlex.split(re.search(r"transformers-buckets (push [^)]*)\)", str(error.value))[1])

    code, out, _ = run(capsys, *advice)

    assert code == 0 and f"Committed hf://buckets/{bucket_id}/checkpoint-2" in out
    assert committed(bucket_id) == ["checkpoint-2"]
    assert "model.safetensors" in {file.path for file in api.list_bucket_tree(bucket_id, recursive=False)}


def test_push_knows_the_best_checkpoint(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4", best="C:\\runs\\checkpoint-2")

    assert run(capsys, "push", folder, bucket_id)[0] == 0
    assert json.loads(run(capsys, "ls", bucket_id, "--json")[1])[0]["best"] is False
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", best="checkpoint-2")
    run(capsys, "push", folder, bucket_id)
    assert [row["best"] for row in json.loads(run(capsys, "ls", bucket_id, "--json")[1])] == [True, False]


def test_push_does_not_let_a_token_out(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    torch.save(
        tiny_arguments(tmp_path / "out", hub_token="hf_secret", push_to_bucket=False), folder / "training_args.bin"
    )

    assert run(capsys, "push", folder, bucket_id)[0] == 0

    for content in download(bucket_id, bucket_files(bucket_id), tmp_path / "all").values():
        assert b"hf_secret" not in content


def test_push_refuses_a_checkpoint_whose_state_holds_the_token(bucket_id, hub, capsys, tmp_path):
    token = os.environ["HF_TOKEN"]
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    (folder / "rng_state.pth").write_text(token)

    code, _, err = run(capsys, "push", folder, bucket_id)

    assert code == 1 and "rng_state.pth holds your token" in err and token not in err
    assert not hub.requests("/xorbs/")


def test_push_takes_only_what_was_written_to_its_end(bucket_id, capsys, tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint-4")
    (folder / "trainer_state.json").unlink()

    assert run(capsys, "push", folder, bucket_id)[0] == 1
    assert run(capsys, "push", write_checkpoint(tmp_path / "checkpoint-4").rename(tmp_path / "x"), bucket_id)[0] == 2
