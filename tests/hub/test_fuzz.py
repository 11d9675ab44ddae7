"""Whatever lies in a bucket: latest is a whole checkpoint or a clear error, and nothing outside the target changes."""

import itertools
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hub.checkpoints import push_checkpoint, put, records
from tests.training import digests
from transformers_buckets import BucketError, download_latest_checkpoint_from_bucket


SIZES = {"model.safetensors": 300, "optimizer.pt": 200, "rng_state.pth": 50, "global_step/state.pt": 100}
FILES = [*SIZES, "trainer_state.json", "checkpoint_manifest.json"]
STEPS, SEEDS = (2, 4, 10), (0, 1)
RUBBISH = {"torn": b'{"format": 1, "step": 4, "files": {"mod', "list": b"[]", "nothing": b"", "text": b"hello"}
NAMES = [
    "checkpoint-4",
    "checkpoint-04",
    "checkpoint-",
    "checkpoint-4 (copy)",
    "checkpoint-4\n",
    "old/checkpoint-4",
    "runs",
]
PATHS = [
    *FILES,
    "MODEL.safetensors",
    "../evil",
    "/evil",
    "C:\\evil",
    "model.safetensors/x",
    "checkpoint-is-incomplete.txt",
]


class Pool:
    """Contents that lie on the Hub already, so that any bucket can be put together from them without an upload."""

    def __init__(self, hub, api, folder: Path):
        self.hub, self.folder, self.bucket_id = hub, folder, f"demo/fuzz-{os.urandom(4).hex()}"
        self.saved, self.rows = {}, {}
        for step in STEPS:
            for seed in SEEDS:
                origin = folder / f"{seed}" / f"checkpoint-{step}"
                push_checkpoint(f"{self.bucket_id}/{seed}", origin, seed=seed, sizes=SIZES)
                self.saved[step, seed] = digests(origin)
                for path, record in records(api, self.bucket_id, f"{seed}/checkpoint-{step}").items():
                    self.rows[step, seed, path] = record
        put(api, self.bucket_id, **{f"rubbish/{name}": content for name, content in RUBBISH.items()})
        self.rows.update(records(api, self.bucket_id, "rubbish"))

    def build(self, files: list[tuple[str, object]]) -> str:
        """Let a new run consist of these files, uploaded in this order; its address."""
        prefix = os.urandom(6).hex()
        with sqlite3.connect(self.hub.directory / "hub.sqlite") as database:
            query = "SELECT id FROM buckets WHERE namespace || '/' || name = ?"
            ((bucket,),) = database.execute(query, [self.bucket_id])
            for index, (path, content) in enumerate(files):
                time = f"2026-01-01T00:00:00.{index:06d}Z"
                row = (
                    bucket,
                    f"{prefix}/{path}",
                    self.rows[content].xet_hash,
                    self.rows[content].size,
                    time,
                    time,
                    None,
                )
                database.execute("INSERT OR REPLACE INTO bucket_files VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        database.close()
        return f"{self.bucket_id}/{prefix}"


@pytest.fixture(scope="module")
def pool(session_hub, tmp_path_factory):
    return Pool(session_hub, HfApi(), tmp_path_factory.mktemp("origin"))


def damages():
    contents = st.sampled_from(
        [(step, seed, path) for step in STEPS for seed in SEEDS for path in FILES] + list(RUBBISH)
    )
    return st.one_of(
        st.tuples(st.just("drop"), st.sampled_from(FILES)),
        st.tuples(st.just("put"), st.sampled_from(PATHS), contents),
        st.tuples(st.just("rename"), st.sampled_from(FILES), st.sampled_from(PATHS)),
        st.tuples(st.just("call"), st.sampled_from(NAMES)),
    )


FOLDERS = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(SEEDS), st.lists(damages(), max_size=2)),
    max_size=5,
    unique_by=lambda folder: folder[0],
)
LOCAL = st.sampled_from(["nothing", "the same", "corrupt", "half a download", "a download of another"])


def laid_out(folders) -> list[tuple[str, object]]:
    """The files of a run, the manifest of each folder last."""
    files = []
    for step, seed, harm in folders:
        name, inside = f"checkpoint-{step}", {path: (step, seed, path) for path in FILES}
        for kind, what, *more in harm:
            if kind == "drop":
                inside.pop(what, None)
            elif kind == "put":
                inside[what] = more[0]
            elif kind == "rename" and what in inside:
                inside[more[0]] = inside.pop(what)
            elif kind == "call":
                name = what
        files += [(f"{name}/{path}", content) for path, content in inside.items()]
    return files


def prepare(target: Path, local: str, saved: Path) -> None:
    """What an earlier life left in the target."""
    place = target / "_bucket" / "downloads" if "download" in local else target
    if local != "nothing":
        shutil.copytree(saved, place / "checkpoint-4")
    if local in ("corrupt", "half a download"):
        weights = place / "checkpoint-4" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100] + b"?" * (200 if local == "corrupt" else 0))
    if local == "a download of another":
        (place / "checkpoint-4" / "optimizer.pt").rename(place / "checkpoint-4" / "scaler.pt")


def check(pool: Pool, folders, local: str) -> None:
    files = {}
    for path, content in laid_out(folders):
        files.pop(path, None)  # written again, it is the newest
        files[path] = content
    address = pool.build(list(files.items()))
    with tempfile.TemporaryDirectory() as place:
        target = Path(place, "a", "target")
        target.mkdir(parents=True)
        Path(place, "evil").write_text("the user's own")
        prepare(target, local, pool.folder / "0" / "checkpoint-4")
        intact = {
            name: (step, seed)
            for name in {path.split("/")[0] for path in files}
            for step, seed in itertools.product(STEPS, SEEDS)
            if re.fullmatch(f"checkpoint-0*{step}", name)
            and all(files.get(f"{name}/{path}") == (step, seed, path) for path in FILES)
        }
        try:
            path = download_latest_checkpoint_from_bucket(address, target)
        except BucketError as error:
            assert str(error) and not intact
        else:
            if path is None:
                assert not intact
            else:
                latest = max(intact.values())  # in the order in which they were pushed, whenever they were copied here
                assert intact[Path(path).name] == latest and Path(path).parent == target
                assert digests(path) == pool.saved[latest]
        assert {name for name in digests(place) if not name.startswith("a/target/")} == {"evil"}
        assert Path(place, "evil").read_text() == "the user's own"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(folders=FOLDERS, local=LOCAL)
def test_latest_is_whole_or_a_clear_error(pool, folders, local):
    check(pool, folders, local)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(folders=FOLDERS, local=LOCAL)
def test_latest_is_whole_or_a_clear_error_at_length(pool, folders, local):
    check(pool, folders, local)
