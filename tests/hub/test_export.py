"""A checkpoint becomes a model folder; what comes out of shards is tried in `tests/distributed/test_sharded.py`."""

import pytest
from transformers import AutoModelForCausalLM

from tests.hub.checkpoints import push_checkpoint
from tests.training import digests, same_weights, tiny_trainer
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.manifest import MANIFEST_NAME
from transformers_buckets.cli import main


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "exported" / "model"


def test_a_checkpoint_with_weights_gives_its_model_and_nothing_of_the_training(bucket_id, tmp_path, folder, capsys):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.train()
    capsys.readouterr()

    assert main(["export", f"hf://buckets/{bucket_id}", str(folder)]) == 0

    assert capsys.readouterr().out.strip() == str(folder)
    assert same_weights(AutoModelForCausalLM.from_pretrained(folder), trainer.model)
    assert not {"optimizer.pt", "trainer_state.json", "rng_state.pth"} & digests(folder).keys()


@pytest.mark.parametrize(
    ("state", "message"),
    [("a folder that is used", "is there already"), ("no weights", "holds no weights"), ("a broken one", "is broken")],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(bucket_id, api, tmp_path, folder, capsys, state, message):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2")
    if state == "no weights":
        api.batch_bucket_files(bucket_id, delete=["checkpoint-2/model.safetensors", f"checkpoint-2/{MANIFEST_NAME}"])
    elif state == "a folder that is used":
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    elif state == "a broken one":
        api.batch_bucket_files(bucket_id, add=[(b"torn", "checkpoint-2/model.safetensors")])

    assert main(["export", f"hf://buckets/{bucket_id}/checkpoint-2", str(folder)]) == 1

    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("exported/**/*") if path.is_file()] == (
        ["notes.txt"] if state == "a folder that is used" else []
    )


def test_what_arrived_before_an_interruption_is_not_sent_again(bucket_id, hub, tmp_path, folder):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2")
    weights = CheckpointBucket(bucket_id).find("checkpoint-2").manifest.files["model.safetensors"]
    arrived = folder.with_name("model.partial") / "checkpoint"
    arrived.mkdir(parents=True)
    (arrived / "model.safetensors").write_bytes((tmp_path / "checkpoint-2" / "model.safetensors").read_bytes())
    hub.clear_requests()

    assert main(["export", f"hf://buckets/{bucket_id}/checkpoint-2", str(folder)]) == 0

    assert not [request for request in hub.requests() if request.path.endswith(weights.xet_hash)]
    assert digests(folder).keys() == {"model.safetensors"}
