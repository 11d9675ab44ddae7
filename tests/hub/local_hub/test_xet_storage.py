"""What the Xet storage sends, takes and refuses, seen from outside."""

import os
import struct

import hf_xet
import httpx2
import pytest

from transformers_buckets.local_hub.xet.hash import hash_to_text
from transformers_buckets.local_hub.xet.shard import SHARD_TAG


@pytest.fixture
def write_token(hub, bucket):
    answer = httpx2.get(
        f"{hub.endpoint}/api/buckets/{bucket}/xet-write-token", headers={"authorization": f"Bearer {hub.token}"}
    )
    return {"authorization": f"Bearer {answer.json()['accessToken']}"}


def xorb(*chunks: bytes) -> bytes:
    length = [len(chunk).to_bytes(3, "little") for chunk in chunks]
    return b"".join(b"\0" + size + b"\0" + size + chunk for size, chunk in zip(length, chunks, strict=True))


def shard(xorb_hash: bytes, chunks: int) -> bytes:
    """One file, made of the first chunks of a xorb, each of 7 bytes."""
    bookend = struct.pack("<32s4I", b"\xff" * 32, 0, 0, 0, 0)
    file = struct.pack("<32s4I", os.urandom(32), 0, 1, 0, 0)
    segment = struct.pack("<32s4I", xorb_hash, 0, 7 * chunks, 0, chunks)
    return struct.pack("<32sQQ", SHARD_TAG, 2, 0) + file + segment + bookend + bookend


def bytes_uploaded(hub):
    return sum(request.received for request in hub.requests("POST /v1/xorbs/"))


def test_several_xorbs_come_back_whole(api, bucket, download, tmp_path):
    content = os.urandom(70_000_000)
    (tmp_path / "large").write_bytes(content)
    api.batch_bucket_files(bucket, add=[(tmp_path / "large", "large"), (b"small", "small")])
    assert download(bucket, "large") == content
    assert download(bucket, "small") == b"small"


def test_a_client_that_knows_nothing_sends_only_what_is_new(hub, api, bucket, client_process, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    api.batch_bucket_files(bucket, add=[(tmp_path / "file", "file")])
    assert bytes_uploaded(hub) > 3_000_000

    hub.clear_requests()
    upload = "api.batch_bucket_files(sys.argv[1], add=[(sys.argv[2], 'again')])"
    assert client_process(upload, bucket, str(tmp_path / "file")).wait(30) == 0
    assert bytes_uploaded(hub) == 0

    hub.clear_requests()
    (tmp_path / "file").write_bytes(content + b"and a little more")
    assert client_process(upload, bucket, str(tmp_path / "file")).wait(30) == 0
    assert 0 < bytes_uploaded(hub) < 300_000


def test_the_hash_in_a_bucket_is_the_hash_of_the_file(api, bucket, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(500_000))
    api.batch_bucket_files(bucket, add=[(tmp_path / "file", "file")])
    (remote,) = api.list_bucket_tree(bucket)
    (local,) = hf_xet.hash_files([str(tmp_path / "file")])
    assert remote.xet_hash == local.hash


@pytest.mark.parametrize(
    "malformed",
    [b"", b"no xorb at all", xorb(b"cut off")[:-1], xorb(b"x" * 200_000)],
    ids=["empty", "text", "cut off", "chunk too large"],
)
def test_a_malformed_xorb_is_refused(hub, write_token, malformed):
    answer = httpx2.post(f"{hub.endpoint}/v1/xorbs/default/{'ab' * 32}", content=malformed, headers=write_token)
    assert (answer.status_code, "Malformed xorb" in answer.json()["error"]) == (400, True)


def test_a_xorb_of_more_than_64_mib_is_refused(hub, write_token):
    chunk = b"\0" + (1).to_bytes(3, "little") + b"\1" + (131_072).to_bytes(3, "little") + b"x"
    address = f"{hub.endpoint}/v1/xorbs/default/{os.urandom(32).hex()}"
    answer = httpx2.post(address, content=chunk * 513, headers=write_token)
    assert (answer.status_code, "more than 67108864 bytes" in answer.json()["error"]) == (400, True)
    assert httpx2.post(address, content=chunk * 512, headers=write_token).status_code == 200


def test_a_xorb_of_more_chunks_than_clients_make_is_refused(hub, write_token):
    """What is known of each chunk stays in memory."""
    address = f"{hub.endpoint}/v1/xorbs/default/{os.urandom(32).hex()}"
    answer = httpx2.post(address, content=xorb(b"") * 8193, headers=write_token)
    assert (answer.status_code, "more than 8192 chunks" in answer.json()["error"]) == (400, True)
    assert httpx2.post(address, content=xorb(b"") * 8192, headers=write_token).status_code == 200


def test_a_xorb_is_taken_once(hub, write_token):
    address = f"{hub.endpoint}/v1/xorbs/default/{os.urandom(32).hex()}"
    assert httpx2.post(address, content=xorb(b"a", b"b"), headers=write_token).json() == {"was_inserted": True}
    assert httpx2.post(address, content=xorb(b"a", b"b"), headers=write_token).json() == {"was_inserted": False}


def test_the_hub_does_not_know_xorbs_before_they_are_uploaded(hub, write_token):
    """A client that is told so without a 404 would not upload."""
    address = f"{hub.endpoint}/v1/xorb-grants/default/{'ab' * 32}"
    assert httpx2.post(address, headers=write_token).status_code == 404


def test_a_shard_that_names_a_missing_xorb_is_refused(hub, write_token):
    content = shard(os.urandom(32), chunks=1)
    answer = httpx2.post(f"{hub.endpoint}/v2/shards", content=content, headers=write_token)
    assert (answer.status_code, "is not stored" in answer.json()["error"]) == (400, True)


def test_a_shard_that_names_missing_chunks_is_refused(hub, write_token):
    xorb_hash = os.urandom(32)
    address = f"{hub.endpoint}/v1/xorbs/default/{hash_to_text(xorb_hash)}"
    httpx2.post(address, content=xorb(b"7 bytes"), headers=write_token)
    for chunks, accepted in ((1, True), (2, False)):
        content = shard(xorb_hash, chunks)
        answer = httpx2.post(f"{hub.endpoint}/v2/shards", content=content, headers=write_token)
        assert answer.is_success == accepted


def test_a_malformed_shard_is_refused(hub, write_token):
    for malformed in (b"", b"x" * 100, b"HFRepoMetaData"):
        answer = httpx2.post(f"{hub.endpoint}/v2/shards", content=malformed, headers=write_token)
        assert (answer.status_code, "Malformed shard" in answer.json()["error"]) == (400, True)


def test_a_reconstruction_leads_to_the_wanted_bytes(hub, api, bucket, write_token):
    content = os.urandom(1_000_000)
    api.batch_bucket_files(bucket, add=[(content, "file")])
    (file,) = api.list_bucket_tree(bucket)
    headers = {**write_token, "range": "bytes=400000-400009"}
    answer = httpx2.get(f"{hub.endpoint}/v2/reconstructions/{file.xet_hash}", headers=headers).json()
    (term,) = answer["terms"]
    assert term["unpacked_length"] <= 131_072  # one chunk is enough for ten bytes
    (fetch,) = answer["xorbs"][term["hash"]]
    (part,) = fetch["ranges"]
    stored = httpx2.get(fetch["url"], headers={"range": f"bytes={part['bytes']['start']}-{part['bytes']['end']}"})
    offset = 8 + answer["offset_into_first_range"]  # behind the header of the chunk; random bytes are not compressed
    assert stored.content[offset : offset + 10] == content[400_000:400_010]


def test_a_range_past_the_end_is_416(hub, api, bucket, write_token):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    (file,) = api.list_bucket_tree(bucket)
    headers = {**write_token, "range": "bytes=7-9"}
    assert httpx2.get(f"{hub.endpoint}/v2/reconstructions/{file.xet_hash}", headers=headers).status_code == 416
    assert httpx2.get(f"{hub.endpoint}/v2/reconstructions/{'ab' * 32}", headers=write_token).status_code == 404
