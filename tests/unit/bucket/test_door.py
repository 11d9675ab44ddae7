"""What passes the door, and how it looks then."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

import pytest
import torch
from transformers import TrainingArguments

from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.bucket.door import LOOKED_AT, pass_door, without_token
from transformers_buckets.bucket.errors import BucketAddressError
from transformers_buckets.bucket.hub_client import reason


TOKEN = "hf_of_the_user_0123456789"
HIDING = {
    "text": TOKEN.encode(),
    "archive": lambda write: write("notes.txt", TOKEN, zipfile.ZIP_DEFLATED),
    "archive in an archive": lambda write: write("inner.zip", archive(HIDING["archive"]), zipfile.ZIP_DEFLATED),
    "large file in a small archive": lambda write: write(
        "a.log", bytes(LOOKED_AT) + TOKEN.encode(), zipfile.ZIP_DEFLATED
    ),
    "gzip": gzip.compress(TOKEN.encode()),
    "bzip2": bz2.compress(TOKEN.encode()),
    "xz": lzma.compress(TOKEN.encode()),
    "gzip in an archive": lambda write: write("old.log.gz", gzip.compress(TOKEN.encode())),
    "gzip without its end": gzip.compress(TOKEN.encode())[:-4],
    "text of a Windows shell": f"Logged in with {TOKEN}".encode("utf-16"),
    "the same the other way round": f"Logged in with {TOKEN}".encode("utf-16-be"),
    "text of four bytes": TOKEN.encode("utf-32-be"),
}


def archive(fill) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        fill(target.writestr)
    return content.getvalue()


def saved(token: str, **options) -> bytes:
    content = io.BytesIO()
    torch.save(TrainingArguments("out", hub_token=token, learning_rate=0.125, use_cpu=True), content, **options)
    return content.getvalue()


@pytest.mark.parametrize("hidden", HIDING)
def test_what_holds_the_token_stays_and_the_rest_goes(hidden):
    content = HIDING[hidden] if isinstance(HIDING[hidden], bytes) else archive(HIDING[hidden])
    add = [(content, "deep/below/notes.bin"), (b"nothing", "model.safetensors")]

    assert pass_door(add, TOKEN) == ([(b"nothing", "model.safetensors")], ["deep/below/notes.bin"])
    assert pass_door(add, "another token of the user")[1] == []


def damaged() -> bytes:
    """An archive of two files, the first of which cannot be unpacked."""
    members = [("noise.txt", bytes(range(256)) * 20), ("notes.txt", TOKEN)]
    content = archive(lambda write: [write(name, text, zipfile.ZIP_DEFLATED) for name, text in members])
    begin = len("noise.txt") + 30  # of a header
    return content[:begin] + bytes(byte ^ 0xFF for byte in content[begin : begin + 20]) + content[begin + 20 :]


def test_a_damaged_file_hides_no_other_and_is_no_reason_to_stop():
    with pytest.raises(zlib.error):
        zipfile.ZipFile(io.BytesIO(damaged())).read("noise.txt")

    assert pass_door([(damaged(), "x"), (b"nothing", "y")], TOKEN) == ([(b"nothing", "y")], ["x"])
    assert pass_door([(damaged(), "x"), (damaged(), "training_args.bin")], "another token of the user")[1] == []


def test_arguments_go_without_the_token_however_large_they_are(tmp_path):
    args = TrainingArguments("out", hub_token=TOKEN, use_cpu=True)
    args.notes = "x" * LOOKED_AT
    torch.save(args, tmp_path / "training_args.bin")

    ((redacted, _),), _ = pass_door([(tmp_path / "training_args.bin", "training_args.bin")], TOKEN)

    assert TOKEN.encode() not in redacted


def test_the_token_of_the_login_counts_too(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    assert pass_door([(TOKEN.encode(), "x")], None)[1] == ["x"]


def test_what_is_no_archive_after_all_goes():
    broken = b"PK\x05\x06" + archive(lambda write: write("x", "y"))[:-30] + b"PK\x05\x06" + bytes(18)

    assert pass_door([(broken, "x")], TOKEN)[1] == []


@pytest.mark.parametrize("size", [1, 2, 37, 38, 300])
@pytest.mark.parametrize(
    "options",
    [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}],
    ids=["archive", "archive, protocol 4", "bare pickle"],
)
def test_training_arguments_load_as_if_no_token_had_been_given(size, options):
    token = ("hf_" + "x" * size)[-size:]
    content = saved(token, **options)

    redacted = without_token(content)

    args = torch.load(io.BytesIO(redacted), weights_only=False)
    assert args.hub_token is None
    assert args.learning_rate == 0.125
    assert len(redacted) == len(content)
    assert len(token) < 10 or token.encode() not in redacted


def test_other_tokens_in_training_arguments_are_overwritten():
    content = saved("hf_of_another_day")

    ((redacted, _),), held_back = pass_door([(content.replace(b"loss", b"loss"), "training_args.bin")], "0.125")

    assert held_back == []
    assert torch.load(io.BytesIO(redacted), weights_only=False).hub_token is None


def test_training_arguments_without_a_token_stay_as_they_are():
    content = saved(None)

    assert without_token(content) == content


@pytest.mark.parametrize(
    "text",
    [
        "404 Client Error for url: http://me:my-password@127.0.0.1/api",
        "'me:my-password@127.0.0.1' is not a valid name",
        "404 Client Error for url: http://me:xy@my-password@127.0.0.1/api",
        "404 Client Error for url: http://me:xy/my-password@127.0.0.1/api",
        "404 Client Error for url: http://xy@my-password@127.0.0.1/api",
        f"hf_{'a' * 34} is not valid",
        f"Illegal header value b'Bearer hf_oauth_{'a' * 40}.b-c_my-password'",
    ],
)
def test_errors_do_not_echo_passwords_and_tokens(text):
    told = reason(RuntimeError(text))

    assert "***" in told and "my-password" not in told and "aaaa" not in told


@pytest.mark.parametrize(
    "password", ["my-password", "my@my-password", "my/my-password", "my my-password", "my-password@ /"]
)
def test_a_pasted_address_is_not_echoed_with_its_password(password):
    for user in ("https://me:", "https://", "me:"):
        with pytest.raises(BucketAddressError) as error:
            BucketAddress.parse(f"{user}{password}@huggingface.example/buckets/me/run\\", "bucket_id")

        assert "my-password" not in str(error.value) and "huggingface.example/buckets/me/run" in str(error.value)
