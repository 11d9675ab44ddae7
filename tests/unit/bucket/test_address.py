"""How users write where a run lives."""

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.bucket.address import BucketAddress, is_bucket_address, step_of
from transformers_buckets.bucket.errors import BucketAddressError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my-run", BucketAddress("my-run")),
        ("org/my-run", BucketAddress("org/my-run")),
        (" org/my-run/ ", BucketAddress("org/my-run")),
        ("org/my-run/expt-1", BucketAddress("org/my-run", "expt-1")),
        ("org/my-run/a/b c", BucketAddress("org/my-run", "a/b c")),
        ("hf://buckets/org/my-run", BucketAddress("org/my-run")),
        ("hf://buckets/org/my-run/a/b/", BucketAddress("org/my-run", "a/b")),
        ("hf://buckets/org/my-run/checkpoint-5", BucketAddress("org/my-run", "", "checkpoint-5")),
        ("org/my-run/a/checkpoint-5", BucketAddress("org/my-run", "a", "checkpoint-5")),
        ("org/my-run/checkpoint-5/a", BucketAddress("org/my-run", "checkpoint-5/a")),
        ("my-run/checkpoint-5", BucketAddress("my-run", "", "checkpoint-5")),
        ("hf://buckets/my-run/checkpoint-5", BucketAddress("my-run", "", "checkpoint-5")),
        ("org/my-run/checkpoint-five", BucketAddress("org/my-run", "checkpoint-five")),
    ],
)
def test_every_form_is_understood(text, expected):
    assert BucketAddress.parse(text) == expected


@pytest.mark.parametrize("page", ["", "/tree", "/resolve"])
def test_the_page_in_a_browser_is_understood(page):
    url = f"{constants.ENDPOINT}/buckets/org/my-run{page}/expt%201/checkpoint-5?download=true#files"

    assert BucketAddress.parse(url) == BucketAddress("org/my-run", "expt 1", "checkpoint-5")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        (None, "must not be empty"),
        ("a b", "not a valid name"),
        ("org/my--run", "not a valid name"),
        ("org//my-run", "empty parts"),
        ("/org/my-run", "empty parts"),
        ("org/my-run/../other", "'..'"),
        ("org/my-run/a\\b", "backslashes"),
        ("org/my-run/a\nb", "control characters"),
        ("hf://buckets/", "names no bucket"),
        ("hf://buckets/my-run", "names no bucket"),
        ("hf://datasets/org/data", "not the address of a bucket"),
        ("hf://org/model", "not the address of a bucket"),
        ("https://example.com/buckets/org/my-run", "not on the Hub in use"),
        (f"{constants.ENDPOINT}/org/model", "not that of a bucket"),
        (f"{constants.ENDPOINT}/datasets/org/data", "not that of a bucket"),
    ],
    ids=lambda text: repr(text).replace(constants.ENDPOINT, "hub"),
)
def test_what_names_no_bucket_is_refused_with_its_value_and_the_way_out(text, reason):
    with pytest.raises(BucketAddressError) as refusal:
        BucketAddress.parse(text, "bucket_id")

    message = str(refusal.value)
    assert message.startswith(f"bucket_id={text!r}: ")
    assert reason in message
    assert "Write 'name', 'namespace/name'" in message


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_clear_refusal(text):
    try:
        address = BucketAddress.parse(text)
    except BucketAddressError:
        return
    assert ".." not in address.path("x").split("/")
    if "/" in address.bucket_id:
        assert BucketAddress.parse(str(address)) == address


@pytest.mark.parametrize(("given", "in_use"), [("", "me:my-password@"), ("me:my-password@", "")])
def test_a_password_makes_no_other_hub_of_one(given, in_use, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", f"https://{in_use}huggingface.example")

    assert BucketAddress.parse(f"https://{given}huggingface.example/buckets/a/b") == BucketAddress("a/b")


def test_an_address_tells_the_paths_of_its_run():
    address = BucketAddress.parse("org/my-run/expt-1/checkpoint-5")

    assert str(address) == "hf://buckets/org/my-run/expt-1/checkpoint-5"
    assert str(address.run) == "hf://buckets/org/my-run/expt-1"
    assert str(address.below("run-0")) == "hf://buckets/org/my-run/expt-1/run-0"
    assert address.path("checkpoint-5", "model.safetensors") == "expt-1/checkpoint-5/model.safetensors"
    assert BucketAddress("org/my-run").path("model.safetensors") == "model.safetensors"


def test_only_addresses_on_the_hub_are_bucket_addresses():
    assert is_bucket_address("hf://buckets/org/my-run")
    assert is_bucket_address("https://huggingface.co/buckets/org/my-run")
    assert not is_bucket_address("out/checkpoint-5")
    assert not is_bucket_address(True)
    assert not is_bucket_address(None)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-0", 0),
        ("run-1/checkpoint-12", 12),
        ("checkpoint-", None),
        ("checkpoint-5.tmp", None),
        ("checkpoint--5", None),
        ("checkpoint-٥", None),
        ("my-checkpoint-5", None),
        ("checkpoint-5/model.safetensors", None),
    ],
)
def test_the_step_is_read_from_names_of_checkpoints_only(name, step):
    assert step_of(name) == step
