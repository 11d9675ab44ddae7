"""The file that makes a checkpoint a committed one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.manifest import FORMAT, FileRecord, Manifest, Place, PushId


MANIFEST = Manifest(
    step=500,
    files={"model.safetensors": FileRecord(12, "ab"), "global_step500/rank-0.pt": FileRecord(3, "cd")},
    world_size=2,
    best_checkpoint="checkpoint-400",
    run="5d83b9ed",
    place=Place(2, 9),
    push_id=PushId("writer", 7),
    previous=PushId("another", 8),
    versions={"torch": "2.13.0"},
)


def changed(**fields) -> bytes:
    return json.dumps({**json.loads(MANIFEST.to_json()), **fields}).encode()


def test_a_manifest_survives_its_file():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.size == 15


def test_the_file_says_what_the_documentation_says():
    assert json.loads(MANIFEST.to_json()) == {
        "format": 2,
        "step": 500,
        "files": {
            "global_step500/rank-0.pt": {"size": 3, "xet_hash": "cd"},
            "model.safetensors": {"size": 12, "xet_hash": "ab"},
        },
        "world_size": 2,
        "best_checkpoint": "checkpoint-400",
        "run": "5d83b9ed",
        "place": {"claim": 2, "number": 9},
        "push_id": {"writer": "writer", "sequence": 7},
        "previous": {"writer": "another", "sequence": 8},
        "versions": {"torch": "2.13.0"},
    }


def test_a_later_format_is_refused_with_the_way_out():
    with pytest.raises(
        BrokenCheckpointError, match=f"has format {FORMAT + 1} and this version reads formats up to {FORMAT}"
    ):
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
        "a\nb",
        "x" * 1025,
    ],
)
def test_a_path_that_leaves_the_checkpoint_is_refused(path):
    with pytest.raises(BrokenCheckpointError, match="could write outside the checkpoint"):
        Manifest.from_json(changed(files={path: {"size": 1, "xet_hash": "ab"}}))


def test_a_manifest_of_format_1_has_no_place_in_a_run():
    fields = json.loads(changed(format=1))
    for name in ("run", "place", "previous"):
        del fields[name]

    manifest = Manifest.from_json(json.dumps(fields).encode())

    assert (manifest.run, manifest.place, manifest.previous) == (None, Place(0, 0), None)
    assert manifest.files == MANIFEST.files


def test_hashes_count_where_both_sides_know_them():
    sizes = Manifest.from_json(changed(files={"model.safetensors": {"size": 12, "xet_hash": None}}))

    assert sizes.differences({"model.safetensors": FileRecord(12, "ab")}) == []
    assert sizes.differences({"model.safetensors": FileRecord(11, "ab")}) == [
        "model.safetensors has 11 bytes instead of 12"
    ]


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
