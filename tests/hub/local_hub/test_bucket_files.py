import time
from urllib.parse import quote

import httpx2
import pytest
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import BucketBatchError


@pytest.fixture
def logs(api, bucket):
    api.batch_bucket_files(
        bucket, add=[(path.encode(), path) for path in ("logs/a", "logs/deep/b", "logs_old/c", "logs.json", "other")]
    )
    return bucket


def paths(entries):
    return [entry.path for entry in entries]


def test_a_tree_lists_all_files_and_no_folders(api, logs):
    assert paths(api.list_bucket_tree(logs)) == ["logs.json", "logs/a", "logs/deep/b", "logs_old/c", "other"]


def test_a_prefix_is_matched_as_text(api, logs):
    assert paths(api.list_bucket_tree(logs, prefix="logs")) == ["logs.json", "logs/a", "logs/deep/b", "logs_old/c"]
    assert paths(api.list_bucket_tree(logs, prefix="logs/")) == ["logs/a", "logs/deep/b"]


def test_not_recursive_gives_children_with_folders(api, logs):
    entries = list(api.list_bucket_tree(logs, recursive=False))
    assert [(entry.type, entry.path) for entry in entries] == [
        ("directory", "logs"),
        ("file", "logs.json"),
        ("directory", "logs_old"),
        ("file", "other"),
    ]
    inside = paths(api.list_bucket_tree(logs, prefix="logs", recursive=False))
    assert inside == ["logs.json", "logs/a", "logs/deep", "logs_old"]


def test_a_long_listing_comes_in_pages(hub, api, bucket):
    api.batch_bucket_files(bucket, add=[(b"x", "00000")])
    xet_hash = next(iter(api.list_bucket_tree(bucket))).xet_hash
    names = [f"{number:05}" for number in range(2500)]
    api.batch_bucket_files(bucket, copy=[("bucket", bucket, xet_hash, name) for name in names])
    hub.clear_requests()
    assert paths(api.list_bucket_tree(bucket)) == names
    assert len(hub.requests("/tree")) == 3


@pytest.mark.parametrize("folder", ["日本", "données", "a?b#c %41", "a\rX-Evil: 1"])
def test_the_next_page_is_found_whatever_the_folder_is_called(hub, api, bucket, folder):
    names = [f"{folder}/{number}" for number in range(3)]
    api.batch_bucket_files(bucket, add=[(b"", name) for name in names])
    address, listed = f"{hub.endpoint}/api/buckets/{bucket}/tree/{quote(folder)}?limit=1", []
    while address:
        answer = httpx2.get(address, headers={"authorization": f"Bearer {hub.token}"})
        listed += [file["path"] for file in answer.json()]
        address = answer.links.get("next", {}).get("url")
    assert listed == names


def test_pages_miss_nothing_when_files_are_deleted_meanwhile(api, bucket):
    api.batch_bucket_files(bucket, add=[(b"x", "0000")])
    xet_hash = next(iter(api.list_bucket_tree(bucket))).xet_hash
    names = [f"{number:04}" for number in range(1500)]
    api.batch_bucket_files(bucket, copy=[("bucket", bucket, xet_hash, name) for name in names])
    listing = iter(api.list_bucket_tree(bucket))
    seen = [next(listing).path]
    api.batch_bucket_files(bucket, delete=names[:500])
    seen += paths(listing)
    assert seen == names


def test_paths_info_skips_what_is_missing(api, logs):
    assert paths(api.get_bucket_paths_info(logs, ["other", "missing", "logs", "other"])) == ["other"]


def test_all_files_of_a_batch_are_uploaded_in_the_same_millisecond(api, bucket):
    before = time.time()
    api.batch_bucket_files(bucket, add=[(name.encode(), name) for name in "abc"])
    after = time.time()
    (uploaded_at,) = {file.uploaded_at for file in api.list_bucket_tree(bucket)}
    assert before - 0.001 <= uploaded_at.timestamp() <= after
    assert uploaded_at.microsecond % 1000 == 0


def test_mtime_is_what_the_client_sent(api, bucket, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    api.batch_bucket_files(bucket, add=[(file, "file")])
    (remote,) = api.list_bucket_tree(bucket)
    assert abs(remote.mtime.timestamp() - file.stat().st_mtime) < 0.002


def test_files_replace_each_other(api, bucket, download):
    api.batch_bucket_files(bucket, add=[(b"first", "file")])
    api.batch_bucket_files(bucket, add=[(b"second", "file")])
    assert download(bucket, "file") == b"second"


def test_a_copy_moves_no_data(hub, api, bucket, download):
    api.batch_bucket_files(bucket, add=[(b"content" * 10_000, "file")])
    (file,) = api.list_bucket_tree(bucket)
    hub.clear_requests()
    api.batch_bucket_files(bucket, copy=[("bucket", bucket, file.xet_hash, "copy")])
    assert hub.requests("POST /v1/xorbs/") == []
    assert download(bucket, "copy") == b"content" * 10_000


def test_a_copy_needs_a_source_that_has_the_content(api, bucket, unused_name):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    (file,) = api.list_bucket_tree(bucket)
    empty = api.create_bucket(f"{unused_name}-empty").bucket_id
    with pytest.raises(BucketBatchError, match="has no file with the content"):
        api.batch_bucket_files(bucket, copy=[("bucket", empty, file.xet_hash, "copy")])


def test_what_fails_in_a_batch_is_named_and_the_rest_is_done(api, bucket):
    api.batch_bucket_files(bucket, add=[(b"1", "stays"), (b"2", "goes")])
    with pytest.raises(BucketBatchError) as failure:
        api.batch_bucket_files(bucket, delete=["goes", "never-was"])
    assert [failed["path"] for failed in failure.value.failures] == ["never-was"]
    assert failure.value.response.status_code == 200
    assert paths(api.list_bucket_tree(bucket)) == ["stays"]
    with pytest.raises(BucketBatchError) as failure:
        api.batch_bucket_files(bucket, delete=["never-was"])
    assert failure.value.response.status_code == 422


def test_files_can_be_read_over_plain_http_in_ranges(hub, api, bucket):
    content = bytes(range(256)) * 2000
    api.batch_bucket_files(bucket, add=[(content, "folder/file.bin"), (b"", "empty")])
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    with files.open(f"buckets/{bucket}/folder/file.bin", block_size=1000) as file:
        file.seek(300_000)
        assert file.read(5000) == content[300_000:305_000]
    assert files.cat(f"buckets/{bucket}/folder/file.bin") == content
    assert files.cat(f"buckets/{bucket}/empty") == b""
    assert [entry["name"] for entry in files.ls(f"buckets/{bucket}/folder")] == [f"buckets/{bucket}/folder/file.bin"]


@pytest.mark.parametrize("wanted", ["bytes=-0", "bytes=7-", "bytes=3-2", "bytes=999999999999999999-"])
def test_a_range_without_a_byte_is_416(hub, api, bucket, wanted):
    api.batch_bucket_files(bucket, add=[(b"content", "file"), (b"", "empty")])
    headers = {"authorization": f"Bearer {hub.token}", "range": wanted}
    for name in ("file", "empty"):
        assert httpx2.get(f"{hub.endpoint}/buckets/{bucket}/resolve/{name}", headers=headers).status_code == 416


def test_sync_uploads_once_and_downloads_the_same(api, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "sub" / "b.bin").write_bytes(bytes(1000))
    assert api.sync_bucket(str(source), f"hf://buckets/{bucket}/run", quiet=True).summary()["uploads"] == 2
    assert api.sync_bucket(str(source), f"hf://buckets/{bucket}/run", quiet=True).summary()["uploads"] == 0
    api.sync_bucket(f"hf://buckets/{bucket}/run", str(target), quiet=True)
    assert (target / "sub" / "b.bin").read_bytes() == bytes(1000)
