import hashlib
import json
import os
import struct
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError, RepositoryNotFoundError

from transformers_buckets.local_hub.xet.hash import hash_to_text
from transformers_buckets.local_hub.xet.shard import SHARD_TAG


@pytest.fixture
def client(hub):
    """The API as seen with a token that has these rights; without any rights, with no token."""

    def as_user(user: str, rights: dict[str, str]) -> HfApi:
        return HfApi(endpoint=hub.endpoint, token=hub.create_token(user, rights))

    return as_user


def status_of(error):
    return error.value.response.status_code


def test_whoami_tells_user_organizations_and_role(client):
    me = client("ann", {"ann": "write", "my-org": "read"}).whoami()
    assert (me["name"], [org["name"] for org in me["orgs"]]) == ("ann", ["my-org"])
    assert me["auth"]["accessToken"]["role"] == "write"
    assert client("bob", {"bob": "read"}).whoami()["auth"]["accessToken"]["role"] == "read"


def test_a_stranger_cannot_tell_private_from_missing(hub, bucket, repo, client):
    stranger = client("stranger", {"stranger": "write"})
    with pytest.raises(BucketNotFoundError) as error:
        stranger.bucket_info(bucket)
    assert status_of(error) == 404
    with pytest.raises(RepositoryNotFoundError):
        stranger.model_info(repo)
    with pytest.raises(BucketNotFoundError) as error:
        HfApi(endpoint=hub.endpoint, token=False).bucket_info(bucket)
    assert status_of(error) == 401


def test_public_is_readable_by_all_and_writable_by_few(hub, api, bucket):
    api.update_bucket_settings(bucket, private=False)
    anonymous = HfApi(endpoint=hub.endpoint, token=False)
    assert anonymous.bucket_info(bucket).id == bucket
    with pytest.raises(HfHubHTTPError) as error:
        anonymous.batch_bucket_files(bucket, delete=["file"])
    assert status_of(error) == 401


def test_reading_rights_read_and_do_not_write(api, bucket, client, tmp_path):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    reader = client("reader", {"demo": "read"})
    reader.download_bucket_files(bucket, [("file", tmp_path / "file")])
    assert (tmp_path / "file").read_bytes() == b"content"
    for forbidden in (
        lambda: reader.batch_bucket_files(bucket, delete=["file"]),
        lambda: reader.delete_bucket(bucket),
        lambda: reader.create_bucket(f"{bucket}-new"),
        lambda: reader.update_bucket_settings(bucket, private=False),
    ):
        with pytest.raises(HfHubHTTPError, match="don't have the rights") as error:
            forbidden()
        assert status_of(error) == 403
    with pytest.raises(ConnectionError, match="403"):  # that is what hf_xet makes of it
        reader.batch_bucket_files(bucket, add=[(b"new", "new")])


def test_a_user_writes_in_the_organizations_that_the_token_names(client, unused_name):
    member = client("member", {"member": "write", "my-org": "write", "their-org": "read"})
    assert member.create_bucket(f"my-org/{unused_name}").bucket_id == f"my-org/{unused_name}"
    with pytest.raises(HfHubHTTPError, match="'their-org'"):
        member.create_bucket(f"their-org/{unused_name}")


def test_a_revoked_token_is_answered_with_401(hub, bucket):
    token = hub.create_token("leaver", {"demo": "write"})
    leaver = HfApi(endpoint=hub.endpoint, token=token)
    leaver.bucket_info(bucket)
    hub.revoke_token(token)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        leaver.bucket_info(bucket)
    assert status_of(error) == 401


def test_rights_are_read_or_write(hub):
    with pytest.raises(ValueError, match="'admin'"):
        hub.create_token("ann", {"ann": "admin"})


def test_nothing_leaves_a_private_source_by_copying_its_hash(api, bucket, client):
    api.batch_bucket_files(bucket, add=[(b"secret", "file")])
    (file,) = api.list_bucket_tree(bucket)
    thief = client("thief", {"thief": "write"})
    own = thief.create_bucket(f"loot-{bucket.split('/')[1]}").bucket_id
    with pytest.raises(HfHubHTTPError, match="Repository not found"):
        thief.batch_bucket_files(own, copy=[("bucket", bucket, file.xet_hash, "stolen")])


@pytest.fixture
def secret(api, bucket):
    """A file in a private bucket, whose hash has become known."""
    content = os.urandom(100_000)
    api.batch_bucket_files(bucket, add=[(content, "file")])
    (file,) = api.list_bucket_tree(bucket)
    return SimpleNamespace(content=content, xet_hash=file.xet_hash, sha256=hashlib.sha256(content).hexdigest())


def add_by_hash(hub, user: HfApi, bucket: str, xet_hash: str) -> httpx2.Response:
    """Puts a content into a bucket without uploading it."""
    operation = {"type": "addFile", "path": "file", "xetHash": xet_hash, "mtime": 0}
    headers = {"authorization": f"Bearer {user.token}"}
    return httpx2.post(f"{hub.endpoint}/api/buckets/{bucket}/batch", content=json.dumps(operation), headers=headers)


def test_a_hash_gives_no_stranger_its_content(hub, secret, client, unused_name):
    thief = client("thief", {"thief": "write"})
    own = thief.create_bucket(unused_name).bucket_id
    refused = add_by_hash(hub, thief, own, secret.xet_hash)
    assert (refused.status_code, refused.json()["failed"][0]["path"]) == (422, "file")

    route = f"{hub.endpoint}/api/buckets/{own}/xet-write-token"
    token = httpx2.get(route, headers={"authorization": f"Bearer {thief.token}"}).json()["accessToken"]
    address = f"{hub.endpoint}/v2/reconstructions/{secret.xet_hash}"
    assert httpx2.get(address, headers={"authorization": f"Bearer {token}"}).status_code == 404

    repo = thief.create_repo(unused_name).repo_id
    lines = [
        {"key": "header", "value": {"summary": "mine"}},
        {"key": "lfsFile", "value": {"path": "file", "algo": "sha256", "oid": secret.sha256, "size": 100_000}},
    ]
    content = "\n".join(map(json.dumps, lines))
    headers = {"authorization": f"Bearer {thief.token}"}
    address = f"{hub.endpoint}/api/models/{repo}/commit/main"
    assert httpx2.post(address, content=content, headers=headers).status_code == 400


def test_a_shard_that_claims_a_hash_gives_no_stranger_its_content(hub, secret, client, unused_name):
    """Everything is signed in as it should be, but what is said to have this hash is nothing, or something else."""
    thief = client("thief", {"thief": "write"})
    own = thief.create_bucket(unused_name).bucket_id
    route = f"{hub.endpoint}/api/buckets/{own}/xet-write-token"
    token = httpx2.get(route, headers={"authorization": f"Bearer {thief.token}"}).json()["accessToken"]
    headers = {"authorization": f"Bearer {token}"}

    other = os.urandom(32)
    chunk = b"\0" + (7).to_bytes(3, "little") + b"\0" + (7).to_bytes(3, "little") + b"7 bytes"
    address = f"{hub.endpoint}/v1/xorbs/default/{hash_to_text(other)}"
    assert httpx2.post(address, content=chunk, headers=headers).status_code == 200
    claimed = struct.pack("<4Q", *(int(secret.xet_hash[start : start + 16], 16) for start in range(0, 64, 16)))
    bookend = struct.pack("<32s4I", b"\xff" * 32, 0, 0, 0, 0)
    for segments in ([], [struct.pack("<32s4I", other, 0, 7, 0, 1)]):
        file = struct.pack("<32s4I", claimed, 0, len(segments), 0, 0) + b"".join(segments)
        shard = struct.pack("<32sQQ", SHARD_TAG, 2, 0) + file + bookend + bookend
        refused = httpx2.post(f"{hub.endpoint}/v2/shards", content=shard, headers=headers)
        assert (refused.status_code, "another content" in refused.json()["error"]) == (400, True)

    address = f"{hub.endpoint}/v2/reconstructions/{secret.xet_hash}"
    assert httpx2.get(address, headers=headers).status_code == 404
    assert add_by_hash(hub, thief, own, secret.xet_hash).status_code == 422


def test_who_may_read_a_content_or_has_uploaded_it_may_use_its_hash(hub, api, bucket, secret, client, unused_name):
    reader = client("reader", {"reader": "write", "demo": "read"})
    assert add_by_hash(hub, reader, reader.create_bucket(unused_name).bucket_id, secret.xet_hash).status_code == 200

    api.delete_bucket(bucket)
    elsewhere = api.create_bucket(f"{unused_name}-elsewhere").bucket_id
    assert add_by_hash(hub, api, elsewhere, secret.xet_hash).status_code == 200


def test_who_has_the_same_content_may_upload_it(hub, secret, client, unused_name, tmp_path):
    """Although the client remembers that it is uploaded already, and for whom it does not care."""
    other = client("other", {"other": "write"})
    own = other.create_bucket(unused_name).bucket_id
    other.batch_bucket_files(own, add=[(secret.content, "file")])
    other.download_bucket_files(own, [("file", tmp_path / "file")])
    assert (tmp_path / "file").read_bytes() == secret.content


def test_who_has_the_same_content_may_upload_it_together_with_another(
    hub, secret, client, client_process, unused_name, tmp_path
):
    """From a machine that knows nothing, so that the same chunks come in another xorb."""
    other = client("other", {"other": "write"})
    own = other.create_bucket(unused_name).bucket_id
    (tmp_path / "same").write_bytes(secret.content)
    (tmp_path / "more").write_bytes(os.urandom(300_000))
    files = f"add=[({str(tmp_path / 'more')!r}, 'more'), ({str(tmp_path / 'same')!r}, 'same')]"
    assert client_process(f"HfApi(token={other.token!r}).batch_bucket_files({own!r}, {files})").wait(30) == 0
    other.download_bucket_files(own, [("same", tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == secret.content


def test_what_others_uploaded_is_not_told_by_deduplication(
    hub, api, bucket, client, client_process, unused_name, tmp_path
):
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    api.batch_bucket_files(bucket, add=[(tmp_path / "file", "file")])
    other = client("other", {"other": "write"})
    own = other.create_bucket(unused_name).bucket_id
    hub.clear_requests()
    upload = "HfApi(token=sys.argv[3]).batch_bucket_files(sys.argv[1], add=[(sys.argv[2], 'file')])"
    assert client_process(upload, own, str(tmp_path / "file"), other.token).wait(30) == 0
    assert {request.status for request in hub.requests("GET /v1/chunks/")} == {404}


def test_a_revoked_token_opens_the_xet_storage_no_longer(hub, bucket, secret):
    token = hub.create_token("leaver", {"demo": "read"})
    route = f"{hub.endpoint}/api/buckets/{bucket}/xet-read-token"
    xet_token = httpx2.get(route, headers={"authorization": f"Bearer {token}"}).json()["accessToken"]
    address, headers = f"{hub.endpoint}/v2/reconstructions/{secret.xet_hash}", {"authorization": f"Bearer {xet_token}"}
    assert httpx2.get(address, headers=headers).status_code == 200
    hub.revoke_token(token)
    assert httpx2.get(address, headers=headers).status_code == 401


def test_the_xet_storage_needs_its_own_token(hub, bucket):
    read_token = httpx2.get(
        f"{hub.endpoint}/api/buckets/{bucket}/xet-read-token", headers={"authorization": f"Bearer {hub.token}"}
    ).json()["accessToken"]
    shard = f"{hub.endpoint}/v2/shards"
    assert httpx2.post(shard, content=b"").status_code == 401
    assert httpx2.post(shard, content=b"", headers={"authorization": f"Bearer {hub.token}"}).status_code == 401
    assert httpx2.post(shard, content=b"", headers={"authorization": f"Bearer {read_token}"}).status_code == 403
    forged = read_token.replace("xet.read.", "xet.write.")
    assert httpx2.post(shard, content=b"", headers={"authorization": f"Bearer {forged}"}).status_code == 401


def test_the_address_of_a_xorb_cannot_be_guessed(hub, api, bucket, download):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    download(bucket, "file")
    (request,) = hub.requests("GET /xorbs/")
    address = hub.endpoint + request.path
    assert httpx2.get(address).status_code == 200
    assert httpx2.get(address.partition("?")[0]).status_code == 403


def test_control_routes_are_closed_to_clients(hub):
    assert httpx2.post(f"{hub.endpoint}/_local_hub/requests", json={"match": None}).status_code == 404
