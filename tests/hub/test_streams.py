"""Contents that go into a bucket and come from it without a disk."""

import io
import os

import pytest
import torch

from transformers_buckets import BrokenCheckpointError
from transformers_buckets.bucket.download_streams import RangedFile, downloads, read_whole
from transformers_buckets.bucket.hub_client import register
from transformers_buckets.bucket.upload_streams import StreamedUpload


@pytest.fixture
def bucket(api, bucket_id) -> str:
    api.create_bucket(bucket_id)
    return bucket_id


@pytest.fixture
def put(api, bucket):
    """Stores a content without a name, and says what it is."""

    def put(content: bytes):
        with StreamedUpload(api, bucket) as upload, upload.open("content") as file:
            file.write(content)
        return upload.files["content"]

    return put


@pytest.fixture
def stream(api, bucket):
    return downloads(api, bucket)


def test_what_torch_saves_into_a_stream_gets_a_name_when_it_is_registered(api, bucket, stream):
    state = {"moments": torch.rand(500_000), "step": 3}

    with StreamedUpload(api, bucket) as upload:
        with upload.open("optimizer.pt") as file:
            torch.save(state, file)
    assert list(api.list_bucket_tree(bucket)) == []
    register(api, bucket, {"expt-1/optimizer.pt": upload.files["optimizer.pt"]})

    (file,) = api.list_bucket_tree(bucket, recursive=True)
    assert (file.path, file.size, file.xet_hash) == ("expt-1/optimizer.pt", *upload.files["optimizer.pt"])
    loaded = torch.load(read_whole(stream, upload.files["optimizer.pt"]))
    assert torch.equal(loaded["moments"], state["moments"]) and loaded["step"] == 3


@pytest.mark.parametrize("size", [0, 1, 9_000_000])
def test_any_size(put, stream, size):
    content = os.urandom(size)
    record = put(content)

    assert record.size == size
    assert read_whole(stream, record).read() == content


def test_several_files_at_once(api, bucket, stream):
    with StreamedUpload(api, bucket) as upload, upload.open("first") as first, upload.open("second") as second:
        for _ in range(3):
            first.write(b"one")
            second.write(b"two")

    assert read_whole(stream, upload.files["first"]).read() == b"oneoneone"
    assert read_whole(stream, upload.files["second"]).read() == b"twotwotwo"


def test_an_error_while_writing_goes_through_and_the_file_does_not_count(api, bucket):
    with pytest.raises(ValueError, match="midway"), StreamedUpload(api, bucket) as upload:
        with upload.open("whole") as file:
            file.write(b"whole")
        with upload.open("half") as file:
            file.write(b"half")
            raise ValueError("midway")

    assert "half" not in upload.files


def test_a_storage_that_is_away_is_an_error_of_whoever_writes(hub, api, bucket):
    hub.fault("POST /v1/xorbs/", status=503, times=None)
    with pytest.raises(ConnectionError, match="503"), StreamedUpload(api, bucket) as upload:
        with upload.open("file") as file:
            file.write(os.urandom(100_000))


def test_the_reason_is_that_of_the_storage_and_not_what_torch_makes_of_it(hub, api, bucket):
    hub.fault("POST /v1/xorbs/", status=503, times=None)
    state = [torch.rand(5_000_000) for _ in range(20)]  # more than may wait to be sent

    with pytest.raises(ConnectionError, match="503"), StreamedUpload(api, bucket) as upload:
        with upload.open("file") as file:
            torch.save(state, file)


def test_a_wrong_byte_in_a_whole_file_is_made_good_or_an_error(hub, put, stream):
    content = os.urandom(300_000)
    record = put(content)
    hub.fault("GET /xorbs/", corrupt=True)
    assert read_whole(stream, record).read() == content

    hub.fault("GET /xorbs/", corrupt=True, times=None)
    with pytest.raises(BrokenCheckpointError, match="wrong hash"):
        read_whole(stream, record)


RANGES = [(100, 200), (200, 90_000), (90_000, 300_000), (500_000, 500_010), (600_000, 900_000)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4, 2, 0, 3)], ids=str)
def test_ranges_are_read_in_any_order(put, stream, order):
    content = os.urandom(1_000_000)
    file = RangedFile(stream, put(content), RANGES, is_right=lambda part: True)

    for start, end in (RANGES[number] for number in order):
        file.seek(start)
        assert file.read(end - start) == content[start:end]
        file.seek(-7, io.SEEK_CUR)
        assert file.read(7) == content[end - 7 : end]


def test_what_lies_outside_the_ranges_is_not_there(put, stream):
    file = RangedFile(stream, put(os.urandom(1_000_000)), RANGES, is_right=lambda part: True)

    for place in (0, 450_000, 999_999):
        file.seek(place)
        assert file.read(10) == b""


def test_a_range_that_is_found_wrong_is_fetched_once_more(put, stream):
    content = os.urandom(1_000_000)
    seen = []

    def wrong_at_first(part: bytes) -> bool:
        seen.append(part)
        return len(seen) > 1

    file = RangedFile(stream, put(content), [(0, 400_000), (400_000, 800_000)], wrong_at_first)

    assert file.read(400_000) == content[:400_000]
    assert file.read(400_000) == content[400_000:800_000]
    assert seen == [content[:400_000]] * 2 + [content[400_000:800_000]]
