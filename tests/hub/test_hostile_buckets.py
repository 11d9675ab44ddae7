"""Names and manifests from a bucket are hostile input: nothing is written outside the target, and the error is clear."""

import json
import sqlite3
import tracemalloc

import pytest

from tests.hub.checkpoints import manifest_of, push_checkpoint, put, records, smuggle
from tests.training import digests
from transformers_buckets import BucketError, CheckpointBucket
from transformers_buckets.bucket.contents import best_checkpoint
from transformers_buckets.bucket.manifest import FileRecord, Place
from transformers_buckets.resume import newest, pull


HOSTILE = [
    "../evil",
    "../../../evil",
    "a/../../evil",
    "/etc/evil",
    "//evil",
    "./evil",
    "a//evil",
    "evil/",
    "..",
    "a\x00b",
    "a\nb",
    "a\x1b[2Jb",
    "a" * 2000,
    "model.safetensors/evil",
]


@pytest.fixture
def outside(tmp_path):
    """What lies around the target; it must be the same at the end."""
    (tmp_path / "evil").write_text("the user's own")
    (tmp_path / "deep" / "target").mkdir(parents=True)
    before = digests(tmp_path)
    yield tmp_path / "deep" / "target"
    after = {path: d for path, d in digests(tmp_path).items() if not path.startswith(("deep/target/", "origin/"))}
    assert after == before


@pytest.fixture
def run(bucket_id, tmp_path, outside):
    push_checkpoint(bucket_id, tmp_path / "origin" / "checkpoint-2")
    return CheckpointBucket(bucket_id)


def is_refused(run, name: str, target) -> str:
    """A checkpoint is passed over by latest, and an error if it is named; the error."""
    assert run.latest().name == "checkpoint-2"
    assert {c.name: c.state for c in run.checkpoints()}[name] == "broken"
    with pytest.raises(BucketError) as error:
        run.pull(name, target)
    assert not digests(target)
    return str(error.value)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_name_in_a_manifest_that_would_leave_the_folder_is_refused(run, api, hub, bucket_id, outside, path):
    good = "checkpoint-2/model.safetensors"
    smuggle(hub, bucket_id, "checkpoint-4/model.safetensors", good)
    smuggle(hub, bucket_id, f"checkpoint-4/{path}", good)
    record = records(api, bucket_id, "checkpoint-2")["model.safetensors"]
    lie = manifest_of(4, {"model.safetensors": record, path: record})
    put(api, bucket_id, **{"checkpoint-4/checkpoint_manifest.json": lie})

    assert "could write outside" in (message := is_refused(run, "checkpoint-4", outside)) or "both a file" in message


@pytest.mark.parametrize("path", HOSTILE)
def test_a_listed_name_that_would_leave_the_folder_is_refused(run, hub, bucket_id, outside, path):
    smuggle(hub, bucket_id, "checkpoint-4/model.safetensors", "checkpoint-2/model.safetensors")
    smuggle(hub, bucket_id, f"checkpoint-4/{path}", "checkpoint-2/model.safetensors")

    is_refused(run, "checkpoint-4", outside)
    with pytest.raises(ValueError, match="Only an unmarked one can be adopted"):
        run.adopt("checkpoint-4")


def with_field(**fields) -> bytes:
    """A manifest that is true, but for some fields: the checkpoint consists of one empty file."""
    return json.dumps(
        {**json.loads(manifest_of(4, {"empty": FileRecord(0, "0" * 64)}, place=Place(9, 9))), **fields}
    ).encode()


LIES = {
    "no JSON": b"\x00\xff",
    "another JSON": b'"hello"',
    "deep JSON": b"[" * 100_000,
    "a number too long": b'{"format": 1, "step": ' + b"9" * 5000 + b"}",
    "a later format": with_field(format=3),
    "no fields": b'{"format": 1}',
    "no files": with_field(files={}),
    "a step without end": with_field(step=float("inf")),
    "files in a list": with_field(files=["model.safetensors"]),
    "a file that is not there": with_field(files={"model.safetensors": {"size": 1, "xet_hash": "0" * 64}}),
    "a size below nothing": with_field(files={"model.safetensors": {"size": -1, "xet_hash": "0" * 64}}),
    "a size without end": with_field(files={"model.safetensors": {"size": float("inf"), "xet_hash": "0" * 64}}),
    "a hash that is none": with_field(files={"model.safetensors": {"size": 1, "xet_hash": "../evil"}}),
    "another step": with_field(step=5),
    "a push that is no push": with_field(push_id=[1]),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_makes_a_broken_checkpoint(run, api, bucket_id, outside, lie):
    put(api, bucket_id, **{"checkpoint-4/empty": b"", "checkpoint-4/checkpoint_manifest.json": LIES[lie]})

    is_refused(run, "checkpoint-4", outside)


@pytest.mark.parametrize("best", [{"a": 1}, ["checkpoint-2"], 7, "../evil"])
def test_a_best_that_is_no_name_protects_nothing(run, api, bucket_id, outside, best):
    put(
        api,
        bucket_id,
        **{"checkpoint-4/empty": b"", "checkpoint-4/checkpoint_manifest.json": with_field(best_checkpoint=best)},
    )

    assert run.latest().name == "checkpoint-4"
    assert run.prunable(1) == ["checkpoint-2"]


def test_a_gigantic_manifest_is_not_even_read(run, api, hub, bucket_id, outside):
    put(api, bucket_id, **{"checkpoint-4/checkpoint_manifest.json": b"{}"})
    with sqlite3.connect(hub.directory / "hub.sqlite") as database:
        database.execute(
            "UPDATE bucket_files SET size = ? WHERE path = 'checkpoint-4/checkpoint_manifest.json'", (10**12,)
        )
    database.close()

    assert "1000000000000 bytes, which is too many" in is_refused(run, "checkpoint-4", outside)


def test_a_file_where_a_checkpoint_or_a_manifest_should_be_is_no_checkpoint(run, api, bucket_id, outside):
    put(api, bucket_id, **{"checkpoint-4": b"a file", "checkpoint-6/checkpoint_manifest.json/x": b"a folder"})

    assert [(c.name, c.state) for c in run.checkpoints()] == [
        ("checkpoint-2", "committed"),
        ("checkpoint-6", "unmarked"),
    ]
    assert run.latest().name == "checkpoint-2"


def test_a_step_with_thousands_of_digits_is_no_checkpoint(run, hub, bucket_id, outside):
    smuggle(hub, bucket_id, f"checkpoint-{'9' * 5000}/model.safetensors", "checkpoint-2/model.safetensors")

    assert [c.name for c in run.checkpoints()] == ["checkpoint-2"]


@pytest.mark.parametrize(
    "best", ["..", ".", "", "/", "../..", "/x/..", "C:\\x\\..", "evil", "checkpoint-2/..", 7, {}, []]
)
def test_a_state_that_names_no_checkpoint_as_the_best_leads_nowhere(bucket_id, tmp_path, outside, best):
    origin = tmp_path / "origin" / "checkpoint-4"
    push_checkpoint(bucket_id, origin)
    state = {"global_step": 4, "best_model_checkpoint": best, "best_global_step": best}
    (origin / "trainer_state.json").write_text(json.dumps(state))
    run = CheckpointBucket(bucket_id)
    run.push(origin)

    pull(newest(run, str(outside)), str(outside), None, with_best=True)

    assert {path.split("/")[0] for path in digests(outside)} == {"checkpoint-4"}
    assert best_checkpoint(outside / "checkpoint-4") is None


def plant(hub, bucket_id: str, paths: list[str], source: str) -> None:
    """Many files at once."""
    with sqlite3.connect(hub.directory / "hub.sqlite") as database:
        (row,) = database.execute(
            "SELECT bucket_files.* FROM bucket_files JOIN buckets ON buckets.id = bucket "
            "WHERE namespace || '/' || name = ? AND path = ?",
            (bucket_id, source),
        )
        database.executemany(
            "INSERT INTO bucket_files VALUES (?, ?, ?, ?, ?, ?, ?)", [(row[0], path, *row[2:]) for path in paths]
        )
    database.close()


def test_ten_thousand_files_beside_a_run_cost_no_memory(hub, bucket_id, tmp_path, outside):
    address = f"{bucket_id}/expt-1"
    origin = push_checkpoint(address, tmp_path / "origin" / "checkpoint-2")
    run = CheckpointBucket(address)
    run.latest()  # what is imported and cached once is not counted
    junk = [f"expt-1{place}/{i:05d}" for i in range(2500) for place in ("", "0", "/junk", "-junk")]
    plant(hub, bucket_id, junk, "expt-1/checkpoint-2/optimizer.pt")
    tracemalloc.start()

    run.pull(run.latest(), outside)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digests(outside / "checkpoint-2") == digests(origin)
    assert peak < 5_000_000


def test_thousands_of_unmarked_checkpoints_make_one_short_warning(run, hub, bucket_id, outside, messages):
    plant(hub, bucket_id, [f"checkpoint-{i}/x" for i in range(10, 3000)], "checkpoint-2/optimizer.pt")

    assert newest(run, str(outside)).checkpoint.name == "checkpoint-2"

    (line,) = messages()
    assert line.endswith("and 2985 more.") and len(line) < 500
