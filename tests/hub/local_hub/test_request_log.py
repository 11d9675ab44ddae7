import os
import threading

import httpx2
import pytest
from huggingface_hub.errors import BucketNotFoundError


def test_every_request_is_counted_with_its_bytes(hub, api, bucket, download):
    hub.clear_requests()
    api.batch_bucket_files(bucket, add=[(os.urandom(100_000), "file")])
    (upload,) = hub.requests("POST /v1/xorbs/")
    (shard,) = hub.requests("POST /v2/shards")
    (batch,) = hub.requests("POST .*/batch")
    assert (upload.method, upload.status, batch.path) == ("POST", 200, f"/api/buckets/{bucket}/batch")
    assert upload.number < shard.number < batch.number
    assert upload.time <= shard.time <= batch.time
    assert "hf_hub" in batch.user_agent
    hub.clear_requests()
    download(bucket, "file")
    (fetch,) = hub.requests("GET /xorbs/")
    assert fetch.sent <= upload.received < fetch.sent + 1000


def test_paths_are_decoded_and_include_the_query(hub, api, bucket):
    list(api.list_bucket_tree(bucket, prefix="a b/c", recursive=True))
    assert [request.path for request in hub.requests("/tree")] == [f"/api/buckets/{bucket}/tree/a b/c?recursive=true"]


def test_the_log_of_a_dropped_request_has_no_status(hub, api, bucket):
    hub.fault("GET /api/buckets/", lose_response=True)
    with pytest.raises(Exception, match="disconnected"):
        api.bucket_info(bucket)
    assert [request.status for request in hub.requests("GET /api/buckets/")] == [None]


def test_plain_reads_leave_no_trace_of_the_servers_own_requests(hub, api, bucket):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    hub.clear_requests()
    address = f"{hub.endpoint}/buckets/{bucket}/resolve/file"
    assert httpx2.get(address, headers={"authorization": f"Bearer {hub.token}"}).content == b"content"
    assert len(hub.requests()) == 1


def test_a_held_request_has_arrived_but_has_no_effect_until_it_is_released(hub, api, bucket):
    hub.clear_requests()
    hub.hold("POST .*/batch")
    upload = threading.Thread(target=api.batch_bucket_files, args=[bucket], kwargs={"add": [(b"content", "file")]})
    upload.start()
    assert hub.wait_for("POST .*/batch").status is None
    assert list(api.list_bucket_tree(bucket)) == []
    hub.release()
    upload.join()
    assert [file.path for file in api.list_bucket_tree(bucket)] == ["file"]


def test_waiting_in_vain_ends(hub):
    with pytest.raises(TimeoutError, match="'never'"):
        hub.wait_for("never", timeout=0.05)


def test_an_error_of_the_client_names_the_request_in_the_log(hub, api, bucket):
    with pytest.raises(BucketNotFoundError) as error:
        api.bucket_info(f"{bucket}-missing")
    (request,) = hub.requests("-missing")
    assert f"Request ID: {request.number})" in str(error.value)
