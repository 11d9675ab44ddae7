"""Starting, stopping, killing: what stays, and that nothing is left running."""

import http.client
import os
import subprocess
import sys

import httpx2
import pytest
from huggingface_hub import HfApi

from transformers_buckets.local_hub import LocalHub, main


def test_everything_survives_kill_9(tmp_path):
    with LocalHub(tmp_path / "hub") as hub:
        guest = hub.create_token("guest", {"demo": "read"})
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        bucket = api.create_bucket("bucket", private=True).bucket_id
        repo = api.create_repo("repo").repo_id
        content = os.urandom(200_000)
        api.batch_bucket_files(bucket, add=[(content, "file")])
        commit = api.upload_file(repo_id=repo, path_or_fileobj=content, path_in_repo="model.bin").oid
        (before,) = api.list_bucket_tree(bucket)
        endpoint, token = hub.endpoint, hub.token

        hub.kill()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(hub.endpoint)
        hub.start()

        assert (hub.endpoint, hub.token) == (endpoint, token)
        HfApi(endpoint=endpoint, token=guest).download_bucket_files(bucket, [("file", tmp_path / "file")])
        assert (tmp_path / "file").read_bytes() == content
        assert api.model_info(repo).sha == commit
        assert list(api.list_bucket_tree(bucket)) == [before]


def test_an_upload_that_a_kill_interrupts_can_be_done_again(client_process, tmp_path):
    with LocalHub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        bucket = api.create_bucket("bucket").bucket_id
        hub.hold("POST /v2/shards")
        upload = "api.batch_bucket_files(sys.argv[1], add=[(b'content', 'file')])"
        client = client_process(upload, bucket, hub=hub)
        hub.wait_for("POST /v2/shards")
        hub.kill()
        client.kill()
        client.wait()
        hub.start()
        assert list(api.list_bucket_tree(bucket)) == []
        assert client_process(upload, bucket, hub=hub).wait(30) == 0
        assert [file.size for file in api.list_bucket_tree(bucket)] == [7]


def test_several_client_processes_at_once(api, bucket, client_process):
    code = """
import os
for number in range(5):
    api.batch_bucket_files(sys.argv[1], add=[(os.urandom(50_000), f"{sys.argv[2]}/{number}")])
"""
    clients = [client_process(code, bucket, name) for name in ("first", "second")]
    assert [client.wait(60) for client in clients] == [0, 0]
    assert api.bucket_info(bucket).total_files == 10


def test_the_server_dies_with_the_process_that_started_it(tmp_path):
    code = """
import os, signal, sys
from transformers_buckets.local_hub import LocalHub, main
hub = LocalHub(sys.argv[1])
hub.start()
print(hub.endpoint, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The server writes its errors to where its parent did: that pipe ends when both have ended.
    endpoint, _ = parent.communicate(timeout=20)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(endpoint.strip())


def test_a_client_that_dies_in_mid_upload_leaves_no_trace(tmp_path, capfd):
    with LocalHub(tmp_path / "hub") as hub:
        HfApi(endpoint=hub.endpoint, token=hub.token).create_bucket("bucket")
        token_route = f"{hub.endpoint}/api/buckets/demo/bucket/xet-write-token"
        xet_token = httpx2.get(token_route, headers={"authorization": f"Bearer {hub.token}"}).json()["accessToken"]
        headers = {"Authorization": f"Bearer {xet_token}", "Content-Length": "1000000"}
        client = http.client.HTTPConnection("127.0.0.1", hub.port)
        client.request("POST", f"/v1/xorbs/default/{'ab' * 32}", b"only the beginning", headers)
        hub.wait_for("POST /v1/xorbs/")
        client.close()
        hub.stop()
        assert list((tmp_path / "hub" / "incoming").iterdir()) == []
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_or_none_is_an_error(hub, tmp_path, capfd):
    with pytest.raises(RuntimeError, match="did not start"):
        LocalHub(tmp_path, port=hub.port).start()
    assert f"Cannot listen on 127.0.0.1:{hub.port}" in capfd.readouterr().err
    assert main(["--dir", str(tmp_path), "--port", "99999"]) == 1
    assert "port must be 0-65535" in capfd.readouterr().err


@pytest.fixture
def command(tmp_path):
    """Starts the command on a folder, and gives the process with the lines that it prints."""
    started = []

    def start() -> tuple[subprocess.Popen, list[str]]:
        arguments = ["--dir", str(tmp_path / "hub"), "--port", "0"]
        server = subprocess.Popen(
            [sys.executable, "-m", "transformers_buckets.local_hub", *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(server)
        return server, [server.stdout.readline() for _ in range(3)]

    yield start
    for server in started:
        server.terminate()
        server.wait()


def exported(line: str) -> str:
    return line.partition("=")[2].strip()


def test_the_command_prints_what_to_export(command):
    tokens = []
    for _ in range(2):
        server, (comment, endpoint, token) = command()
        assert "demo" in comment
        assert endpoint.startswith("export HF_ENDPOINT=http://127.0.0.1:")
        assert token.startswith("export HF_TOKEN=hf_")
        tokens.append(exported(token))
        for printed in tokens:  # a shell that was prepared before the Hub was started again goes on working
            assert HfApi(endpoint=exported(endpoint), token=printed).whoami()["name"] == "demo"
        server.terminate()
        server.wait()


def test_what_the_command_serves_cannot_be_steered(command):
    _, (_, endpoint, _) = command()
    answer = httpx2.post(f"{exported(endpoint)}/_local_hub/requests", json={"match": None})
    assert (answer.status_code, "can't find" in answer.json()["error"]) == (404, True)


def test_the_folder_is_for_its_user_alone_and_holds_no_token(command, tmp_path):
    _, (_, endpoint, token) = command()
    api = HfApi(endpoint=exported(endpoint), token=exported(token))
    api.batch_bucket_files(api.create_bucket("bucket").bucket_id, add=[(b"content", "file")])
    assert (tmp_path / "hub").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "hub").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.is_dir() or exported(token).encode() not in path.read_bytes()


def test_a_folder_is_served_once(command, tmp_path, capfd):
    server, (_, endpoint, token) = command()
    api = HfApi(endpoint=exported(endpoint), token=exported(token))
    in_flight = tmp_path / "hub" / "incoming" / "upload"
    in_flight.write_bytes(b"half a xorb")
    with pytest.raises(RuntimeError, match="did not start"):
        LocalHub(tmp_path / "hub").start()
    second, _ = command()
    assert second.wait() == 1
    assert capfd.readouterr().err.count(f"Another local Hub serves the folder '{tmp_path / 'hub'}'.") == 2
    assert in_flight.exists()
    assert api.whoami()["name"] == "demo"

    server.kill()
    server.wait()
    _, (comment, _, _) = command()  # what was killed holds nothing
    assert "Serving" in comment
    assert not in_flight.exists()
