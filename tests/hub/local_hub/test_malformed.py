"""What no client sends, but anyone may: refused with a 4xx that says why, and the server goes on."""

import http.client
import json

import httpx2
import pytest

from transformers_buckets.local_hub.app import ROUTES


@pytest.fixture
def send(hub):
    """Sends a request as `demo`, or as someone else, and gives the answer."""

    def request(method: str, path: str, content: object = None, **headers: str) -> httpx2.Response:
        headers = {"authorization": f"Bearer {hub.token}", **headers}
        content = content if isinstance(content, bytes | None) else json.dumps(content)
        return httpx2.request(method, hub.endpoint + path, content=content, headers=headers)

    return request


@pytest.mark.parametrize(
    "path", ["/api/buckets/demo/a%00b", "/buckets/demo/x/resolve/%00", "/api/buckets/demo?search=%00"]
)
def test_nul_in_a_name(send, path):
    answer = send("GET", path)
    assert (answer.status_code, "NUL" in answer.json()["error"]) == (400, True)


def test_control_characters_in_a_name_are_answered(send):
    assert send("GET", "/nothing%0d%0aX-Evil:%20yes").status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"7", b"{}", b'{"paths": 7}'], ids=lambda b: b[:9]
)
@pytest.mark.parametrize(
    "route",
    [
        "POST /api/repos/create",
        "POST /api/repos/move",
        "DELETE /api/repos/delete",
        "POST /api/buckets/{bucket}/paths-info",
        "POST /api/models/{repo}/preupload/main",
        "POST /api/models/{repo}/commit/main",
        "POST /api/models/{repo}/lfs-files/duplicate",
    ],
)
def test_malformed_json(send, bucket, repo, route, body):
    method, path = route.format(bucket=bucket, repo=repo).split()
    assert send(method, path, body).status_code == 400


@pytest.mark.parametrize(
    "operation",
    [
        7,
        {"type": "addFile"},
        {"type": "addFile", "path": 7, "xetHash": "0" * 64},
        {"type": "addFile", "path": "a\0b", "xetHash": "0" * 64},
        {"type": "addFile", "path": "\ud800", "xetHash": "0" * 64},
    ],
    ids=str,
)
def test_a_malformed_operation_refuses_the_batch(send, api, bucket, operation):
    good = {"type": "addFile", "path": "good", "xetHash": "0" * 64}
    lines = f"{json.dumps(good)}\n{json.dumps(operation)}".encode()
    assert send("POST", f"/api/buckets/{bucket}/batch", lines).status_code == 400
    assert list(api.list_bucket_tree(bucket)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "mend"},
        {"xetHash": 7},
        {"xetHash": "ab"},
        {"mtime": "soon"},
        {"mtime": 1e300},
        {"contentType": "a\r\nb"},
    ],
    ids=str,
)
def test_an_operation_that_cannot_be_done_is_named(send, bucket, fields):
    operation = {"type": "addFile", "path": "file", "xetHash": "0" * 64, **fields}
    answer = send("POST", f"/api/buckets/{bucket}/batch", operation)
    assert (answer.status_code, answer.json()["failed"][0]["path"]) == (422, "file")


@pytest.mark.parametrize(
    "name", ["", "alone", "a/b/c", "demo/", "/x", "demo/..", "demo/a\0b", "\ud800/x", "x" * 300 + "/x y", 7]
)
@pytest.mark.parametrize("kind", ["bucket", "model"])
def test_a_malformed_name_of_a_move(send, bucket, repo, kind, name):
    existing = bucket if kind == "bucket" else repo
    assert send("POST", "/api/repos/move", {"fromRepo": existing, "toRepo": name, "type": kind}).status_code == 400
    assert send("POST", "/api/repos/move", {"fromRepo": name, "toRepo": existing, "type": kind}).status_code == 400


@pytest.mark.parametrize("fields", [{"type": []}, {"type": "bucket"}, {"organization": {}}, {"name": "a/b"}], ids=str)
def test_a_malformed_name_of_a_new_repo(send, fields):
    assert send("POST", "/api/repos/create", {"name": "new", **fields}).status_code == 400


def test_a_refusal_of_a_long_name_can_be_read(send):
    answer = send("POST", "/api/repos/create", {"name": "x" * 1_000_000})
    assert (answer.status_code, len(answer.json()["error"]) > 1_000_000) == (400, True)


def test_an_operation_of_a_commit_that_makes_no_sense(send, api, repo):
    header = {"key": "header", "value": {"summary": "a commit"}}
    for operation in (
        {"key": "file", "value": {"path": "a.txt", "content": "no base64"}},
        {"key": "file", "value": {"path": 7}},
        {"key": "lfsFile", "value": {"path": "a.txt"}},
        {"key": "mend", "value": {"path": "a.txt"}},
        {"key": "file", "value": {"path": "folder/", "content": ""}},
    ):
        lines = f"{json.dumps(header)}\n{json.dumps(operation)}".encode()
        assert send("POST", f"/api/models/{repo}/commit/main", lines).status_code in (400, 422)
    assert len(api.list_repo_commits(repo)) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "many", "9" * 5000])
def test_a_page_size_that_makes_no_sense(send, bucket, limit):
    assert send("GET", f"/api/buckets/{bucket}/tree?limit={limit}").status_code == 200


@pytest.mark.parametrize("milliseconds", [-62_000_000_000_000, 0, 253_000_000_000_000])
def test_a_time_long_ago_or_ahead_can_be_read_back(send, api, bucket, milliseconds):
    operation = {"type": "addFile", "path": "file", "xetHash": "0" * 64, "mtime": milliseconds}
    assert send("POST", f"/api/buckets/{bucket}/batch", operation).status_code == 200
    assert next(iter(api.list_bucket_tree(bucket))).mtime.timestamp() * 1000 == milliseconds


def test_what_is_asked_for_many_times_is_answered_once(send, api, bucket, repo):
    api.batch_bucket_files(bucket, add=[(b"1", "a")])
    assert len(send("POST", f"/api/buckets/{bucket}/paths-info", {"paths": ["a", 7] * 1000}).json()) == 1
    wanted = b"paths=.gitattributes&" * 1000
    assert len(send("POST", f"/api/models/{repo}/paths-info/main", wanted).json()) == 1


TAKE_CONTENT = {
    "/v1/xorbs/default/{hash}",
    "/v2/shards",
    "/api/{repo_type:repo_type}/{namespace}/{name}/commit/{revision}",
}


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not route.methods & {"GET"}], ids=lambda route: route.path
)
def test_every_body_has_a_bound(send, bucket, repo, route):
    """JSON takes much more memory than it has letters."""
    namespace, name = (bucket if ":bucket" in route.path else repo).split("/")
    given = {"namespace": namespace, "name": name, "repo_type": "bucket" if ":bucket" in route.path else "model"}
    others = {"revision": "main", "branch": "new", "hash": "ab" * 32}
    path = route.url_path_for(route.name, **{name: {**others, **given}[name] for name in route.param_convertors})
    bound = (65 if route.path in TAKE_CONTENT else 4) << 20
    for method in route.methods:
        assert send(method, path, b"[" + b"[]," * (bound // 3) + b"[]]").status_code == 413


def test_a_body_without_an_end_has_a_bound(hub, send):
    """Said beforehand, or found out on the way."""
    declared = http.client.HTTPConnection("127.0.0.1", hub.port)
    declared.putrequest("POST", "/api/validate-yaml")
    declared.putheader("Content-Length", "600000000")
    declared.endheaders()
    assert declared.getresponse().status == 413
    declared.close()

    undeclared = http.client.HTTPConnection("127.0.0.1", hub.port)
    undeclared.putrequest("POST", "/api/validate-yaml")
    undeclared.putheader("Transfer-Encoding", "chunked")
    undeclared.endheaders()
    piece = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    for _ in range(5):
        undeclared.send(piece)
    assert undeclared.getresponse().status == 413
    undeclared.close()
    assert hub.requests("validate-yaml")[-1].received < 6 << 20


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "localhost:80@evil.example", "a/b", "[::1"]
)
def test_no_address_in_an_answer_is_the_clients_invention(hub, send, api, bucket, host):
    api.batch_bucket_files(bucket, add=[(b"1", "a"), (b"2", "b")])
    token = send("GET", f"/api/buckets/{bucket}/xet-read-token", host=host)
    assert token.json()["casUrl"] == token.headers["x-xet-cas-url"] == hub.endpoint
    file = send("HEAD", f"/buckets/{bucket}/resolve/a", host=host)
    assert file.headers["x-xet-refresh-route"] == f"{hub.endpoint}/api/buckets/{bucket}/xet-read-token"
    assert send("GET", f"/buckets/{bucket}/resolve/a", host=host).content == b"1"
    assert (
        send("GET", f"/api/buckets/{bucket}/tree?limit=1", host=host).headers["link"].startswith(f"<{hub.endpoint}/")
    )


def test_who_came_through_a_tunnel_is_sent_through_it_again(hub, send, api, bucket):
    api.batch_bucket_files(bucket, add=[(b"1", "a")])
    token = send("GET", f"/api/buckets/{bucket}/xet-read-token", host="localhost:9999")
    assert token.json()["casUrl"] == "http://localhost:9999"
    assert send("GET", f"/buckets/{bucket}/resolve/a", host="localhost:9999").content == b"1"
