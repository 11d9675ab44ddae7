"""A file that is hashed while it arrives is vouched for by what lies on the disk in the end, and by nothing else."""

import os
import subprocess
import sys
import time

import pytest

from transformers_buckets.bucket.arrivals import Arrivals
from transformers_buckets.bucket.files import hash_files
from transformers_buckets.bucket.manifest import Manifest


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere everything is hashed at the end")
SIZE = 3 * 2**20


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def manifest(content, tmp_path) -> Manifest:
    """Of two files with the same content."""
    original = tmp_path / "original"
    original.write_bytes(content)
    return Manifest(step=1, files=hash_files({"first.bin": original, "folder/second.bin": original}))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "arriving" / "folder").mkdir(parents=True)
    return tmp_path / "arriving"


def test_a_file_is_hashed_while_it_grows_and_others_are_not_there(folder, manifest, content):
    with Arrivals(folder, manifest) as arrivals:
        with open(folder / "first.bin", "wb", buffering=0) as file:
            for start in range(0, SIZE, 2**19):
                file.write(content[start : start + 2**19])
        deadline = time.monotonic() + 60
        while not arrivals.records() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert arrivals.records() == {"first.bin": manifest.files["first.bin"]}
    assert arrivals.records() == {"first.bin": manifest.files["first.bin"]}


def test_a_file_that_is_too_short_or_wrong_is_not_vouched_for(folder, manifest, content):
    with Arrivals(folder, manifest) as arrivals:
        (folder / "first.bin").write_bytes(content[:-1])
        (folder / "folder" / "second.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [record for path, record in arrivals.records().items() if record == manifest.files[path]] == []


def test_a_file_that_changes_after_it_was_hashed_is_not_vouched_for(folder, manifest, content):
    with Arrivals(folder, manifest) as arrivals:
        for path in manifest.files:
            (folder / path).write_bytes(content)
    (folder / "first.bin").write_bytes(bytes(SIZE))
    os.utime(folder / "first.bin", (1, 1))
    assert arrivals.records() == {"folder/second.bin": manifest.files["folder/second.bin"]}


def test_after_an_error_nobody_waits_for_what_does_not_come(folder, manifest):
    with pytest.raises(ConnectionError), Arrivals(folder, manifest) as arrivals:
        (folder / "first.bin").write_bytes(b"the beginning")
        raise ConnectionError
    assert not arrivals.records()


def test_a_process_that_is_forked_meanwhile_has_its_own_files_and_so_have_those_it_forks(folder, manifest):
    script = f"""
import os
from pathlib import Path
from transformers_buckets.bucket import arrivals
from transformers_buckets.bucket.manifest import Manifest

manifest = Manifest.from_json({manifest.to_json()!r})
try:
    with arrivals.Arrivals(Path({str(folder)!r}), manifest):
        while len(arrivals._pipes) < len(manifest.files):
            pass
        if os.fork() == 0:
            own = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
            if os.fork() == 0:
                for file in own:
                    os.fstat(file)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        status = os.waitstatus_to_exitcode(os.wait()[1])
        raise ConnectionError
except ConnectionError:
    os._exit(status)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
