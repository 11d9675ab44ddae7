import os
import signal
import time

import hf_xet
import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from transformers_buckets.local_hub import LocalHub


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """`huggingface_hub` waits seconds between its attempts; hf_xet is set by the environment in tests/conftest.py."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def add(api, bucket):
    api.batch_bucket_files(bucket, add=[(os.urandom(100_000), "file")])


def test_a_status_is_answered_and_nothing_is_done(hub, api, bucket):
    hub.fault("POST .*/batch", status=507)
    with pytest.raises(HfHubHTTPError) as error:
        add(api, bucket)
    assert error.value.response.status_code == 507
    assert list(api.list_bucket_tree(bucket)) == []


@pytest.mark.parametrize("request_line", ["POST /v1/xorbs/", "POST /v2/shards", "POST .*/batch", "GET .*write-token"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": "before"}, {"lose_response": True}], ids=str)
def test_the_client_gets_over_one_failure_of_any_upload_request(hub, api, bucket, request_line, fault):
    hub.fault(request_line, **fault)
    add(api, bucket)
    assert len(hub.requests(request_line)) == 2
    assert [file.size for file in api.list_bucket_tree(bucket)] == [100_000]


@pytest.mark.parametrize("request_line", ["GET /v2/reconstructions/", "GET /xorbs/", "POST .*/paths-info"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": "before"}, {"cut": 20}], ids=str)
def test_the_client_gets_over_one_failure_of_any_download_request(hub, api, bucket, download, request_line, fault):
    content = os.urandom(100_000)
    api.batch_bucket_files(bucket, add=[(content, "file")])
    hub.fault(request_line, **fault)
    assert download(bucket, "file") == content
    assert len(hub.requests(request_line)) == 2


def test_an_outage_is_an_error(hub, api, bucket):
    hub.fault("POST /v1/xorbs/", status=503, times=None)
    with pytest.raises(ConnectionError, match="503"):
        add(api, bucket)
    hub.clear_faults()
    add(api, bucket)


def test_a_cut_lets_exactly_so_many_bytes_through(hub, bucket):
    address, headers = f"{hub.endpoint}/api/buckets/{bucket}", {"authorization": f"Bearer {hub.token}"}
    whole = httpx2.get(address, headers=headers).content
    hub.fault(f"GET /api/buckets/{bucket}$", cut=10)
    received = b""
    with pytest.raises(httpx2.RemoteProtocolError), httpx2.stream("GET", address, headers=headers) as response:
        for piece in response.iter_raw():
            received += piece
    assert received == whole[:10]


def test_a_lost_response_was_applied_and_a_cut_before_was_not(hub, bucket):
    address, headers = f"{hub.endpoint}/api/buckets/{bucket}", {"authorization": f"Bearer {hub.token}"}
    hub.fault("DELETE", cut="before")
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.delete(address, headers=headers)
    assert httpx2.get(address, headers=headers).status_code == 200
    hub.fault("DELETE", lose_response=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.delete(address, headers=headers)
    assert httpx2.get(address, headers=headers).status_code == 404


def test_a_retried_delete_meets_the_missing_file(hub, api, bucket):
    add(api, bucket)
    hub.fault("POST .*/batch", lose_response=True)
    with pytest.raises(HfHubHTTPError, match="File not found"):
        api.batch_bucket_files(bucket, delete=["file"])
    assert list(api.list_bucket_tree(bucket)) == []


def test_a_corrupt_byte_arrives_and_the_hash_tells(hub, api, bucket, tmp_path):
    content = os.urandom(300_000)
    api.batch_bucket_files(bucket, add=[(content, "file")])
    (remote,) = api.list_bucket_tree(bucket)
    hub.fault("GET /xorbs/", corrupt=True)
    api.download_bucket_files(bucket, [("file", tmp_path / "file")])
    received = (tmp_path / "file").read_bytes()
    assert sum(a != b for a, b in zip(received, content, strict=True)) == 1
    assert hf_xet.hash_files([str(tmp_path / "file")])[0].hash != remote.xet_hash


@pytest.mark.parametrize("applied", [False, True])
def test_a_kill_ends_a_process_at_exactly_one_request(hub, api, bucket, client_process, applied):
    client = client_process(
        "sys.stdin.read()\napi.create_bucket(sys.argv[1] + '-1')\napi.create_bucket(sys.argv[1] + '-2')", bucket
    )
    hub.fault("POST /api/buckets/.*-2$", kill=client.pid, lose_response=applied)
    client.communicate(timeout=30)
    assert client.returncode == -signal.SIGKILL
    created = {found.id for found in api.list_buckets(search=bucket.split("/")[1])}
    assert created == {bucket, f"{bucket}-1"} | ({f"{bucket}-2"} if applied else set())


def test_a_delay_delays(hub, api, bucket):
    hub.fault("GET /api/buckets/", delay=0.3)
    start = time.monotonic()
    api.bucket_info(bucket)
    assert time.monotonic() - start >= 0.3


def test_silence_lasts_until_the_client_gives_up_and_nothing_was_done(hub, api, bucket):
    address, headers = f"{hub.endpoint}/api/buckets/{bucket}", {"authorization": f"Bearer {hub.token}"}
    hub.fault("DELETE", stall="before")
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.delete(address, headers=headers, timeout=0.3)
    assert [request.status for request in hub.requests("DELETE")] == [None]
    assert api.bucket_info(bucket).id == bucket


def test_silence_in_the_middle_of_an_answer(hub, bucket):
    address, headers = f"{hub.endpoint}/api/buckets/{bucket}", {"authorization": f"Bearer {hub.token}"}
    whole = httpx2.get(address, headers=headers).content
    hub.fault(f"GET /api/buckets/{bucket}$", stall=10)
    received = b""
    with (
        pytest.raises(httpx2.ReadTimeout),
        httpx2.stream("GET", address, headers=headers, timeout=0.3) as response,
    ):
        for piece in response.iter_raw():
            received += piece
    assert received == whole[:10]
    assert httpx2.get(address, headers=headers).content == whole


def test_a_hub_that_is_silent_can_be_stopped(tmp_path):
    with LocalHub(tmp_path) as hub:
        hub.fault("whoami", stall="before")
        with pytest.raises(httpx2.ReadTimeout), httpx2.Client(timeout=0.1) as client:
            client.get(f"{hub.endpoint}/api/whoami-v2")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [("<html>Please sign in</html>", "text/html"), ([1], "application/json"), ({"files": None}, "application/json")],
    ids=["HTML", "a list", "an object"],
)
def test_a_proxy_answers_something_else(hub, body, content_type):
    hub.fault("whoami", body=body)
    answer = httpx2.get(f"{hub.endpoint}/api/whoami-v2")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(content_type)
    assert (answer.text if isinstance(body, str) else answer.json()) == body


def test_skip_and_times_choose_the_requests(hub, bucket):
    hub.fault("whoami", status=418, skip=1, times=2)
    headers = {"authorization": f"Bearer {hub.token}"}
    answers = [httpx2.get(f"{hub.endpoint}/api/whoami-v2", headers=headers).status_code for _ in range(5)]
    assert answers == [200, 418, 418, 200, 200]


def test_client_chooses_whose_requests(hub):
    hub.fault("whoami", status=418, client="origin/node-1", times=None)
    url = f"{hub.endpoint}/api/whoami-v2"
    answers = [
        httpx2.get(url, headers={"user-agent": f"x; origin/{node}"}).status_code
        for node in ("node-0", "node-1", "node-0")
    ]
    assert [status == 418 for status in answers] == [False, True, False]


def test_headers_come_with_the_status(hub):
    hub.fault("whoami", status=429, headers={"Retry-After": "7"})
    assert httpx2.get(f"{hub.endpoint}/api/whoami-v2").headers["retry-after"] == "7"


def test_a_fault_must_exist(hub):
    with pytest.raises(TypeError, match="explode"):
        hub.fault("whoami", explode=True)


def test_a_match_must_be_a_regular_expression(hub):
    with pytest.raises(ValueError, match="unterminated"):
        hub.fault("POST (", status=500)
