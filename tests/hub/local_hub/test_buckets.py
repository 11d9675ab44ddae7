import pytest
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError


def test_create_again_is_refused_unless_exist_ok(api, bucket):
    with pytest.raises(HfHubHTTPError, match="already created") as refused:
        api.create_bucket(bucket)
    assert refused.value.response.status_code == 409
    assert api.create_bucket(bucket, exist_ok=True).bucket_id == bucket


def test_a_name_without_namespace_is_created_for_the_user(api, unused_name):
    assert api.create_bucket(unused_name).bucket_id == f"demo/{unused_name}"


def test_an_invalid_name_is_refused(api):
    with pytest.raises(HfHubHTTPError, match="not a valid bucket name"):
        api.create_bucket("demo/-wrong-")


def test_info_counts_files_and_bytes(api, bucket):
    assert (api.bucket_info(bucket).total_files, api.bucket_info(bucket).size) == (0, 0)
    api.batch_bucket_files(bucket, add=[(b"four", "a"), (b"sixsix", "b/c"), (b"", "empty")])
    assert (api.bucket_info(bucket).total_files, api.bucket_info(bucket).size) == (3, 10)
    api.batch_bucket_files(bucket, delete=["a"])
    assert (api.bucket_info(bucket).total_files, api.bucket_info(bucket).size) == (2, 6)


def test_list_finds_by_part_of_the_name(api, bucket):
    assert bucket in [found.id for found in api.list_buckets()]
    assert [found.id for found in api.list_buckets(search=bucket.split("-")[1])] == [bucket]


def test_a_namespace_nobody_has_is_not_found(api):
    with pytest.raises(HfHubHTTPError, match="no user or organization 'nobody'"):
        list(api.list_buckets(namespace="nobody"))


def test_visibility_can_be_changed(api, bucket):
    api.update_bucket_settings(bucket, private=False)
    assert not api.bucket_info(bucket).private


def test_a_moved_bucket_keeps_its_files(api, bucket, download):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    api.move_bucket(bucket, f"{bucket}-moved")
    assert download(f"{bucket}-moved", "file") == b"content"
    with pytest.raises(BucketNotFoundError):
        api.bucket_info(bucket)


def test_a_bucket_is_not_moved_onto_another(api, bucket):
    other = api.create_bucket(f"{bucket}-other").bucket_id
    with pytest.raises(HfHubHTTPError) as refused:
        api.move_bucket(bucket, other)
    assert refused.value.response.status_code == 409


def test_deleted_is_gone_with_its_files(api, bucket):
    api.batch_bucket_files(bucket, add=[(b"content", "file")])
    api.delete_bucket(bucket)
    with pytest.raises(BucketNotFoundError):
        api.delete_bucket(bucket)
    api.delete_bucket(bucket, missing_ok=True)
    api.create_bucket(bucket)
    assert list(api.list_bucket_tree(bucket)) == []


def test_quota_refuses_what_is_too_much_and_keeps_the_rest(hub, api, bucket):
    used = sum(found.size for found in api.list_buckets())
    hub.set_quota("demo", used + 10)
    try:
        api.batch_bucket_files(bucket, add=[(b"12345678", "fits")])
        with pytest.raises(HfHubHTTPError, match="Storage quota of namespace 'demo' exceeded") as refused:
            api.batch_bucket_files(bucket, add=[(b"123456789", "too much")])
        assert refused.value.response.status_code == 403
        assert [file.path for file in api.list_bucket_tree(bucket)] == ["fits"]
    finally:
        hub.set_quota("demo", None)
    api.batch_bucket_files(bucket, add=[(b"123456789", "too much")])
