"""No secret leaves this machine."""

import torch

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, download
from tests.training import tiny_trainer
from transformers_buckets import CheckpointBucket, TrainingArguments


def test_no_uploaded_file_holds_the_token(hub, bucket_id, tmp_path, messages):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token, hub_always_push=True)
    trainer.train()
    trainer.save_model()

    contents = download(bucket_id, bucket_files(bucket_id), tmp_path / "all")
    assert {"checkpoint-2/training_args.bin", "training_args.bin", "README.md"} <= set(contents)
    assert [path for path, content in contents.items() if token.encode() in content] == []
    assert not [line for line in messages() if token in line]
    assert trainer.args.hub_token == token, "the running training keeps it"


def test_with_both_targets_the_bucket_gets_no_token_either(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        hub_token=token,
        push_to_hub=True,
        hub_model_id=f"demo/model-{bucket_id[-8:]}",
    )
    trainer.train()
    trainer.save_model()

    contents = download(bucket_id, bucket_files(bucket_id), tmp_path / "all")
    assert [path for path, content in contents.items() if token.encode() in content] == []


def test_training_args_stay_loadable(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token, learning_rate=0.125).train()

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-6", tmp_path / "pulled")
    args = torch.load(pulled / "training_args.bin", weights_only=False)
    assert isinstance(args, TrainingArguments)
    assert args.learning_rate == 0.125
    assert args.hub_token is None


def test_the_outbox_holds_no_token(hub, bucket_id, tmp_path):
    token = hub.create_token("trainee", {"demo": "write"})
    found = []

    def look(_state):
        for file in (tmp_path / "out" / "_bucket").rglob("*"):
            if file.is_file() and token.encode() in file.read_bytes():
                found.append(file)

    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_token=token, callbacks=[At(on_save=look)])
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.3, times=None)
    trainer.train()

    assert found == []
