"""What is wrong is told in the first second, with the value and the way out."""

import importlib.util
import socket

import pytest
from huggingface_hub import constants

from tests.hub.contents import bucket_files
from tests.training import tiny_arguments, tiny_trainer
from transformers_buckets import BucketAccessError, BucketAddressError, BucketError, CheckpointBucket


def refusal(tmp_path, **arguments) -> str:
    with pytest.raises(BucketError) as error:
        tiny_trainer(tmp_path / "out", **arguments)
    assert error.value.__cause__ is None and error.value.__suppress_context__, "one sentence, no chain of errors"
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("bucket_id", "reason"),
    [
        ("", "must not be empty"),
        ("a b", "not a valid name"),
        ("org/run/../other", "'..'"),
        ("hf://datasets/org/data", "not the address of a bucket"),
        ("https://example.com/buckets/org/run", "not on the Hub in use"),
    ],
)
def test_a_name_that_cannot_be(hub, tmp_path, bucket_id, reason):
    with pytest.raises(BucketAddressError) as error:
        tiny_arguments(tmp_path / "out", bucket_id=bucket_id)

    assert f"bucket_id={bucket_id!r}" in str(error.value)
    assert reason in str(error.value)
    assert "Write 'name', 'namespace/name'" in str(error.value)
    assert hub.requests() == []


def test_a_checkpoint_is_no_run(tmp_path):
    with pytest.raises(BucketAddressError, match="write 'hf://buckets/org/run', and pass .*resume_from_checkpoint"):
        tiny_arguments(tmp_path / "out", bucket_id="org/run/checkpoint-5")


def test_an_output_dir_that_makes_no_name(tmp_path):
    with pytest.raises(BucketAddressError, match=r"last component of output_dir \(bucket_id is not set\)='my run'"):
        tiny_arguments(tmp_path / "my run")


def test_a_wrong_flag_does_not_matter_while_buckets_are_off(hub, tmp_path):
    tiny_trainer(tmp_path / "my run", push_to_bucket=False, bucket_id="a b", bucket_total_limit=0)

    assert hub.requests() == []


def test_no_token(hub, bucket_id, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")

    told = refusal(tmp_path, bucket_id=bucket_id)
    assert f"bucket_id='hf://buckets/{bucket_id}'" in told
    assert "401 Unauthorized" in told
    assert "run `hf auth login` or set HF_TOKEN. In a training, hub_token passes another token" in told


def test_a_wrong_token(bucket_id, tmp_path):
    told = refusal(tmp_path, bucket_id=bucket_id, hub_token="hf_wrong_and_secret")

    assert "The token is missing, wrong or expired" in told
    assert "hf_wrong_and_secret" not in told


def test_a_token_as_it_was_read_from_a_file(hub, bucket_id, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    tiny_trainer(tmp_path, bucket_id=bucket_id, hub_token=f"{hub.token}\n")


@pytest.mark.parametrize("exists", [False, True], ids=["new bucket", "existing bucket"])
@pytest.mark.parametrize("right", ["read", None])
def test_a_token_without_the_right_to_write(hub, api, bucket_id, tmp_path, exists, right):
    if exists:
        api.create_bucket(bucket_id)
    token = hub.create_token("guest", {"guest": "write"} | ({"demo": right} if right else {}))

    told = refusal(tmp_path, bucket_id=bucket_id, hub_token=token)
    assert f"bucket_id='hf://buckets/{bucket_id}'" in told
    assert "The token may not write here: use one with write access to this namespace, or another bucket." in told
    assert token not in told


def test_a_namespace_of_somebody_else(tmp_path):
    assert "namespace 'datasets'" in refusal(tmp_path, bucket_id="datasets/my-run")


def test_a_hub_that_cannot_be_reached(bucket_id, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)

        told = refusal(tmp_path, bucket_id=bucket_id)
    assert f"the Hub at {endpoint} does not answer" in told
    assert "Check the network and HF_ENDPOINT. " in told and "push_to_bucket=False does without a bucket" in told


def test_a_hub_out_of_order(hub, bucket_id, tmp_path):
    hub.fault("POST /api/buckets", status=500, times=None)

    assert "500 Internal Server Error" in refusal(tmp_path, bucket_id=bucket_id)


def test_hub_offline(hub, bucket_id, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(
        BucketAccessError, match="HF_HUB_OFFLINE=1 switches it off: unset it. .* push_to_bucket=False does without"
    ):
        tiny_arguments(tmp_path / "out", bucket_id=bucket_id)
    assert hub.requests() == []


def test_hf_xet_is_missing(bucket_id, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "hf_xet" else find_spec(name))

    with pytest.raises(BucketAccessError, match="hf_xet, which is not installed: pip install hf_xet"):
        tiny_arguments(tmp_path / "out", bucket_id=bucket_id)


def test_the_bucket_is_made_at_construction_in_the_namespace_of_the_user(hub, bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=bucket_id.split("/")[1])

    assert trainer._bucket_id == bucket_id
    assert bucket_files(bucket_id) == set()


@pytest.mark.parametrize("private", [None, False, True])
def test_hub_private_repo_counts_for_a_new_bucket(api, bucket_id, tmp_path, private):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, hub_private_repo=private)

    assert api.bucket_info(bucket_id).private is bool(private)


def test_the_name_defaults_to_hub_model_id_then_to_output_dir(bucket_id, tmp_path):
    name = bucket_id.split("/")[1]

    assert tiny_trainer(tmp_path / "out", hub_model_id=bucket_id)._bucket_id == bucket_id
    assert tiny_trainer(tmp_path / f"{name}-2")._bucket_id == f"{bucket_id}-2"
    assert tiny_trainer(tmp_path / "out", bucket_id=f"{bucket_id}/expt-1")._bucket_id == f"{bucket_id}/expt-1"


def test_construction_writes_nothing_into_an_existing_bucket(api, bucket_id, tmp_path):
    api.create_bucket(bucket_id)
    api.batch_bucket_files(bucket_id, add=[(b"there before", "notes.txt")])

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id)

    assert bucket_files(bucket_id) == {"notes.txt"}
    assert CheckpointBucket(bucket_id).checkpoints() == []


def test_a_bucket_that_was_renamed_is_not_made_again_under_its_old_name(hub, api, bucket_id, tmp_path, mocker):
    api.create_bucket(f"{bucket_id}-new")
    # As the Hub answers under an old name: with the bucket that it leads to.
    mocker.patch("huggingface_hub.HfApi.bucket_info", return_value=api.bucket_info(f"{bucket_id}-new"))

    told = refusal(tmp_path, bucket_id=f"{bucket_id}/expt-1")

    assert f"this bucket is called {bucket_id}-new now: write 'hf://buckets/{bucket_id}-new/expt-1'" in told
    assert bucket_files(bucket_id) is None
