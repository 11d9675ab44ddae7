"""The file that makes a checkpoint a committed one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.manifest import FORMAT, FileRecord, Manifest, PushId, check_paths


MANIFEST = Manifest(
    step=500,
    files={"model.safetensors": FileRecord(12, "ab"), "global_step500/rank-0.pt": FileRecord(3, "cd")},
    world_size=2,
    best_checkpoint="checkpoint-400",
    push_id=PushId("writer", 7),
    versions={"torch": "2.13.0"},
)


def changed(**fields) -> bytes:
    return json.dumps({**json.loads(MANIFEST.to_json()), **fields}).encode()


def test_a_manifest_survives_its_file():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.size == 15


def test_the_file_says_what_the_documentation_says():
    assert json.loads(MANIFEST.to_json()) == {
        "format": 1,
        "step": 500,
        "files": {
            "global_step500/rank-0.pt": {"size": 3, "xet_hash": "cd"},
            "model.safetensors": {"size": 12, "xet_hash": "ab"},
        },
        "world_size": 2,
        "best_checkpoint": "checkpoint-400",
        "push_id": {"writer": "writer", "sequence": 7},
        "versions": {"torch": "2.13.0"},
    }


def test_a_later_format_is_refused_with_the_way_out():
    with pytest.raises(BrokenCheckpointError, match=f"has format {FORMAT + 1} and this version reads format {FORMAT}"):
        Manifest.from_json(changed(format=FORMAT + 1, files="in another way"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        MANIFEST.to_json()[:-20],
        changed(files=None),
        changed(files={"model.safetensors": 12}),
        changed(files={"model.safetensors": {"size": "many", "xet_hash": "ab"}}),
        changed(step="last"),
        changed(push_id="me"),
        changed(versions=3),
    ],
)
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(BrokenCheckpointError, match="manifest"):
        Manifest.from_json(content)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_is_a_manifest_or_a_clear_refusal(content):
    fields = content if isinstance(content, dict) else {"files": content}
    with pytest.raises(BrokenCheckpointError):
        Manifest.from_json(json.dumps({"format": FORMAT, **fields}).encode())


@pytest.mark.parametrize(
    "path",
    [
        "../model.safetensors",
        "a/../../b",
        "/etc/passwd",
        "a//b",
        "",
        ".",
        "a\\..\\b",
        "C:/windows",
        "con:stream",
        "a\nb",
        "x" * 1025,
    ],
)
def test_a_path_that_leaves_the_checkpoint_is_refused(path):
    with pytest.raises(BrokenCheckpointError, match="could write outside the checkpoint"):
        Manifest.from_json(changed(files={path: {"size": 1, "xet_hash": "ab"}}))


def test_paths_that_cannot_exist_side_by_side_are_refused():
    with pytest.raises(BrokenCheckpointError, match="differ by case only"):
        check_paths({"Model.bin": 0, "model.bin": 0})
    with pytest.raises(BrokenCheckpointError, match="both a file and a folder"):
        check_paths({"a/b/c": 0, "a": 0})


def test_differences_name_every_file_that_does_not_match():
    found = {"model.safetensors": FileRecord(12, "ff"), "stray.txt": FileRecord(1, "00")}

    assert MANIFEST.differences(dict(MANIFEST.files)) == []
    assert MANIFEST.differences(found) == [
        "model.safetensors has another content (wrong hash)",
        "global_step500/rank-0.pt is missing",
    ]
    assert MANIFEST.differences({**MANIFEST.files, "model.safetensors": FileRecord(11, "ab")}) == [
        "model.safetensors has 11 bytes instead of 12"
    ]
