"""The root of a run is the model of its newest checkpoint, and costs no second upload."""

import json
from functools import partial

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, download, root_files, uploaded_bytes
from tests.training import same_weights, tiny_model, tiny_trainer
from transformers_buckets import CheckpointBucket


PLAIN = {"config.json", "generation_config.json", "model.safetensors", "training_args.bin"}


def sharded_model():
    """A model that is saved in many small files."""
    model = tiny_model()
    model.save_pretrained = partial(model.save_pretrained, max_shard_size="20KB")
    return model


def load_root(bucket_id, folder):
    download(bucket_id, root_files(bucket_id), folder)
    return AutoModelForCausalLM.from_pretrained(folder)


def test_the_root_loads_as_the_last_model(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id)
    trainer.train()

    assert root_files(bucket_id) == PLAIN
    assert same_weights(load_root(bucket_id, tmp_path / "root"), trainer.model)


def test_nothing_is_uploaded_for_the_root(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.train()

    batches = hub.requests(f"POST /api/buckets/{bucket_id}/batch")
    commit = batches[3]  # before: the right to write, who writes, the data
    later = [request for request in hub.requests() if request.number > commit.number]
    assert len(batches) == 6
    assert uploaded_bytes(later) < 2000, "the file of the run alone"
    assert uploaded_bytes(hub.requests()) > 0
    files = CheckpointBucket(bucket_id).latest().manifest.files
    on_hub = CheckpointBucket(bucket_id).api.get_bucket_paths_info(bucket_id, sorted(PLAIN))
    assert {file.path: file.xet_hash for file in on_hub} == {name: files[name].xet_hash for name in PLAIN}


def test_shards_come_with_their_index_and_go_when_they_are_stale(bucket_id, tmp_path):
    sharded = tiny_trainer(tmp_path / "sharded", model=sharded_model(), bucket_id=bucket_id, max_steps=2)
    sharded.train()

    index = json.loads((tmp_path / "sharded" / "checkpoint-2" / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 2
    assert root_files(bucket_id) == PLAIN - {"model.safetensors"} | shards | {"model.safetensors.index.json"}
    assert same_weights(load_root(bucket_id, tmp_path / "root"), sharded.model)

    whole = tiny_trainer(tmp_path / "whole", bucket_id=bucket_id, max_steps=4)
    whole.train()

    assert root_files(bucket_id) == PLAIN
    assert same_weights(load_root(bucket_id, tmp_path / "root-2"), whole.model)


def test_files_that_a_user_keeps_at_the_root_stay(api, bucket_id, tmp_path):
    api.create_bucket(bucket_id)
    kept = {"embeddings.safetensors", "corpus.bin", "notes.txt"}
    api.batch_bucket_files(bucket_id, add=[(name.encode(), name) for name in kept])

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2).train()

    assert root_files(bucket_id) == PLAIN | kept


def test_another_run_keeps_its_root(bucket_id, tmp_path):
    tiny_trainer(tmp_path / "one", model=sharded_model(), bucket_id=f"{bucket_id}/expt-1", max_steps=2).train()
    before = {path for path in bucket_files(bucket_id) if path.startswith("expt-1/")}
    tiny_trainer(tmp_path / "ten", bucket_id=f"{bucket_id}/expt-10", max_steps=2).train()
    tiny_trainer(tmp_path / "none", bucket_id=bucket_id, max_steps=2).train()

    assert {path for path in bucket_files(bucket_id) if path.startswith("expt-1/")} == before


def test_lora_adapters(bucket_id, tmp_path):
    model = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    trainer = tiny_trainer(tmp_path / "out", model=model, bucket_id=bucket_id)
    trainer.train()

    assert {"adapter_model.safetensors", "adapter_config.json"} <= root_files(bucket_id)
    assert "model.safetensors" not in root_files(bucket_id)
    download(bucket_id, root_files(bucket_id), tmp_path / "root")
    assert same_weights(PeftModel.from_pretrained(tiny_model(), tmp_path / "root"), trainer.model)


def test_save_only_model(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, save_only_model=True)
    trainer.train()

    assert set(CheckpointBucket(bucket_id).latest().manifest.files) == PLAIN | {"trainer_state.json"}
    assert same_weights(load_root(bucket_id, tmp_path / "root"), trainer.model)


class Linear(torch.nn.Module):
    """A model that transformers knows nothing about."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(16, 1)

    def forward(self, input_ids, labels=None):
        return {"loss": self.head(input_ids.float()).pow(2).mean()}


def test_a_plain_torch_module(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", model=Linear(), bucket_id=bucket_id)
    trainer.train()
    trainer.save_model()

    assert {"model.safetensors", "training_args.bin"} <= root_files(bucket_id)
    assert CheckpointBucket(bucket_id).latest().name == "checkpoint-6"


def test_logs_and_results_arrive_but_nothing_else_hidden_or_half_done(bucket_id, tmp_path):
    out = tmp_path / "out"

    def write(path: str):
        file = out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)

    def leave_files(_state):
        for path in (
            "runs/today/events.out",
            "eval_results.json",
            "notes.txt",
            "_private/x",
            ".cache/y",
            "checkpoint-7-tmp/z",
            "empty.log",
        ):
            write(path)
        (out / "empty.log").write_bytes(b"")

    trainer = tiny_trainer(
        out,
        bucket_id=bucket_id,
        max_steps=2,
        callbacks=[At(on_step_end=leave_files, on_train_end=lambda _: write("all_results.json"))],
    )
    trainer.train()

    outside = {path for path in bucket_files(bucket_id) - {"bucket_run.json"} if not path.startswith("checkpoint-2/")}
    assert outside == PLAIN | {"runs/today/events.out", "eval_results.json", "empty.log", "all_results.json"}


def test_what_did_not_change_is_not_sent_again(api, bucket_id, tmp_path):
    def uploaded_at(name: str):
        (file,) = api.get_bucket_paths_info(bucket_id, [name])
        return file.uploaded_at

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.log").write_text("these stay as they are")
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=2)
    trainer.train()
    before = uploaded_at("notes.log"), uploaded_at("model.safetensors")
    trainer.train()

    assert uploaded_at("notes.log") == before[0]
    assert uploaded_at("model.safetensors") > before[1]
