"""`transformers-buckets promote`: from a checkpoint in a bucket to a model repo that others load."""

import json

import pytest
import torch
from huggingface_hub import hf_hub_download
from transformers import LlamaForCausalLM

from tests.hub.checkpoints import push_checkpoint, put
from tests.hub.cli.command import run
from tests.hub.contents import repo_files, root_files
from tests.training import digests, tiny_dataset, tiny_trainer
from transformers_buckets import CheckpointBucket


def read(repo_id: str, path: str, revision: str = "main") -> str:
    with open(hf_hub_download(repo_id, path, revision=revision), encoding="utf-8") as file:
        return file.read()


def test_the_best_checkpoint_of_a_training_is_released(bucket_id, hub, capsys, tmp_path):
    trainer = tiny_trainer(
        tmp_path / "out",
        bucket_id=bucket_id,
        eval_dataset=tiny_dataset(8),
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="loss",
        hub_always_push=True,
        hub_token="hf_of_the_tests",
    )
    trainer.train()
    best = CheckpointBucket(bucket_id).best()

    code, out, _ = run(capsys, "promote", f"{bucket_id}/best", f"{bucket_id}-release", "--yes")

    assert code == 0 and f"{bucket_id}-release/commit/" in out.splitlines()[-1]
    files = repo_files(f"{bucket_id}-release")
    assert files == {".gitattributes", "README.md", "config.json", "generation_config.json", "model.safetensors"}
    released = LlamaForCausalLM.from_pretrained(f"{bucket_id}-release")
    saved = LlamaForCausalLM.from_pretrained(tmp_path / "out" / best.name)
    assert all(torch.equal(a, b) for a, b in zip(released.parameters(), saved.parameters(), strict=True))
    card = read(f"{bucket_id}-release", "README.md")
    assert "library_name: transformers" in card and "| eval_loss |" in card
    assert f"{best.name} of the training in [hf://buckets/{bucket_id}]" in card


def test_a_second_release_replaces_the_weights_and_leaves_the_card(bucket_id, api, capsys, tmp_path):
    sharded = {f"model-0000{n}-of-00002.safetensors": 1000 for n in (1, 2)} | {"model.safetensors.index.json": 100}
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", sizes=sharded)
    push_checkpoint(bucket_id, tmp_path / "checkpoint-4")
    repo_id = f"{bucket_id}-release"
    promote = ["promote", f"{bucket_id}/checkpoint-2", repo_id, "--yes"]
    assert run(capsys, *promote)[0] == 0
    assert repo_files(repo_id) == {".gitattributes", "README.md", *sharded}
    assert run(capsys, "promote", bucket_id, f"{repo_id}", "--yes")[0] == 0
    assert "checkpoint-4 of the training" in read(repo_id, "README.md"), "nobody had written into the card"
    assert run(capsys, *promote)[0] == 0
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="README.md", repo_id=repo_id)
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="notes/model.bin", repo_id=repo_id)

    code, out, err = run(capsys, "promote", bucket_id, repo_id, "--yes", "--json")

    result = json.loads(out)
    assert "To be deleted there: model-00001-of-00002.safetensors, " in err
    assert (code, result["checkpoint"], result["files"]) == (0, "checkpoint-4", ["model.safetensors"])
    assert result["url"].startswith("http") and result["done"]
    assert repo_files(repo_id) == {".gitattributes", "README.md", "model.safetensors", "notes/model.bin"}
    assert read(repo_id, "README.md") == "mine"


def test_a_release_can_go_to_a_branch(address, bucket_id, capsys):
    repo_id = f"{bucket_id}-release"

    assert run(capsys, "promote", f"{address}/checkpoint-4", repo_id, "--revision", "step-4", "--yes")[0] == 0

    assert "checkpoint-4" in read(repo_id, "README.md", "step-4")
    assert repo_files(repo_id) == {".gitattributes"}


FULL = {"config.json": 10, "modules.json": 10, "model.safetensors": 1000}
ADAPTER = {"adapter_config.json": 10, "adapter_model.safetensors": 1000}


@pytest.mark.parametrize(("first", "then"), [(FULL, ADAPTER), (ADAPTER, FULL)])
def test_a_model_of_another_kind_takes_the_place_of_the_first(bucket_id, api, capsys, tmp_path, first, then):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", sizes=first)
    push_checkpoint(bucket_id, tmp_path / "checkpoint-4", sizes=then)
    repo_id, others = (
        f"{bucket_id}-release",
        {"tokenizer.json", "notes.txt", "onnx/config.json", "generation_config.json"},
    )
    run(capsys, "promote", f"{bucket_id}/checkpoint-2", repo_id, "--yes")
    for path in {"tf_model.h5", *others}:
        api.upload_file(path_or_fileobj=b"mine", path_in_repo=path, repo_id=repo_id)

    assert run(capsys, "promote", bucket_id, repo_id, "--yes")[0] == 0

    assert repo_files(repo_id) == {".gitattributes", "README.md", *then, *others}
    assert then.keys() <= root_files(bucket_id) and not first.keys() & root_files(bucket_id)


def test_what_callbacks_add_to_a_checkpoint_is_not_released(bucket_id, capsys, tmp_path):
    """Nor is it in a model that is pulled alone."""
    model = {
        *("model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "modules.json", "modeling_mine.py"),
        *(
            "1_Pooling/config.json",
            "2_Words/words.txt",
            "2_Words/words_config.json",
            "additional_chat_templates/a.jinja",
        ),
    }
    state = {
        *("my_state.pt", "sampler_state.pkl", "ema_optimizer.pt", "curriculum.bin", "debug.log", "samples.csv"),
        *(
            "random_states_0.pkl",
            "scheduler.bin",
            "training_args.bin",
            "samples/1.txt",
            "notes.json",
            "optimizer.pt",
            "rng_state.pth",
        ),
    }
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", sizes=dict.fromkeys(model | state, 1000))

    assert run(capsys, "promote", bucket_id, f"{bucket_id}-release", "--yes")[0] == 0

    assert repo_files(f"{bucket_id}-release") == {".gitattributes", "README.md", *model}
    folder = CheckpointBucket(bucket_id).pull("checkpoint-2", tmp_path / "here", only_model=True)
    assert digests(folder).keys() == model


def test_a_repo_of_the_user_needs_no_namespace(address, bucket_id, capsys):
    name = f"{bucket_id.split('/')[1]}-release"

    for _ in range(2):
        assert run(capsys, "promote", address, name, "--yes", "--private")[0] == 0

    assert repo_files(f"demo/{name}") == {".gitattributes", "README.md", "model.safetensors"}


def test_what_is_public_is_not_taken_for_private(address, bucket_id, api, capsys):
    api.create_repo(f"{bucket_id}-release")

    code, _, err = run(capsys, "promote", address, f"{bucket_id}-release", "--private", "--yes")

    assert code == 1 and f"{bucket_id}-release is public already" in err
    assert repo_files(f"{bucket_id}-release") == {".gitattributes"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["http://u:s3cretpw@host/demo/m3"], "is not the name of a model repo"),
        (["a/b/c"], "is not the name of a model repo"),
        (["demo/m3", "--revision", ""], "is not the name of a branch"),
        (["demo/m3", "--revision", "0123456789" * 4], "is not the name of a branch"),
    ],
)
def test_what_can_be_no_repo_or_branch_is_wrong_usage(hub, address, capsys, wrong, message):
    hub.clear_requests()

    code, out, err = run(capsys, "promote", address, *wrong, "--yes")

    assert code == 2 and not out and message in err and "s3cretpw" not in err
    assert not hub.requests()


def test_a_repo_that_may_not_be_written_to_is_called_a_repo(hub, address, capsys):
    code, _, err = run(capsys, "promote", address, "somebody-else/model", "--yes")

    assert code == 1 and "write access to this namespace, or another repo." in err


def test_the_card_of_the_run_comes_first(bucket_id, api, capsys, tmp_path):
    push_checkpoint(bucket_id, tmp_path / "checkpoint-4")
    put(api, bucket_id, **{"README.md": "---\nlicense: mit\n---\n\n# Ours"})

    run(capsys, "promote", bucket_id, f"{bucket_id}-release", "--yes")

    card = read(f"{bucket_id}-release", "README.md")
    assert card.startswith("---\nlicense: mit\n---\n\n# Ours\n\nThe weights are those of checkpoint-4 ")


def test_promote_asks_and_creates_nothing_without_a_yes(address, bucket_id, capsys, answer):
    answer("n")
    code, out, err = run(capsys, "promote", address, f"{bucket_id}-release", "--private")
    assert code == 2 and "There is no model repo" in err and "Create a private one?" in err
    assert "model.safetensors" in out and "optimizer.pt" not in out
    assert repo_files(f"{bucket_id}-release") is None

    answer("y")
    assert run(capsys, "promote", address, f"{bucket_id}-release", "--private")[0] == 0
    answer("n")
    assert "public unless your account says otherwise" in run(capsys, "promote", address, f"{bucket_id}-other")[2]
    code, _, err = run(capsys, "promote", address, f"{bucket_id}-release")
    assert code == 2 and "Nothing was changed" in err


def test_what_nobody_could_load_is_not_released(bucket_id, capsys, tmp_path):
    sharded = {"pytorch_model_fsdp_0/__0_0.distcp": 10, "pytorch_model_fsdp_0/.metadata": 10}
    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", sizes=sharded)

    code, _, err = run(capsys, "promote", bucket_id, f"{bucket_id}-release", "--yes")

    assert code == 1 and "sharded over processes" in err
    assert repo_files(f"{bucket_id}-release") is None


def test_a_checkpoint_that_is_not_committed_is_not_released(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})

    code, _, err = run(capsys, "promote", f"{address}/checkpoint-8", f"{bucket_id}-release", "--yes")

    assert code == 1 and "only a committed checkpoint can be promoted" in err
