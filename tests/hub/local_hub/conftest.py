"""These tests have a Hub of their own, in which they may set faults and stop the server."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import HfApi

from transformers_buckets.local_hub import LocalHub


@pytest.fixture(scope="session")
def own_hub(tmp_path_factory):
    with LocalHub(tmp_path_factory.mktemp("own-hub")) as hub:
        yield hub


@pytest.fixture
def hub(own_hub):
    """A running Hub without faults and with an empty request log."""
    own_hub.clear_faults()
    own_hub.clear_requests()
    yield own_hub
    own_hub.release()
    own_hub.clear_faults()


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def unused_name():
    return f"test-{os.urandom(6).hex()}"


@pytest.fixture
def bucket(api, unused_name):
    """A new, private bucket."""
    return api.create_bucket(unused_name, private=True).bucket_id


@pytest.fixture
def repo(api, unused_name):
    """A new, private model repo."""
    return api.create_repo(unused_name, private=True).repo_id


@pytest.fixture
def client_process(hub, tmp_path):
    """Starts Python code as a client on another machine would run: nothing cached, `api` given."""

    def start(code: str, *arguments: str, hub: LocalHub = hub) -> subprocess.Popen:
        home = tmp_path / f"home-{os.urandom(4).hex()}"
        environment = {**os.environ, **hub.environment(), "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        code = f"import sys\nfrom huggingface_hub import HfApi\napi = HfApi()\n{code}"
        return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stdin=subprocess.PIPE)

    return start


@pytest.fixture
def download(api, tmp_path):
    """Reads a file of a bucket back through the Xet storage."""

    def read(bucket: str, path: str) -> bytes:
        target = tmp_path / f"downloaded-{os.urandom(4).hex()}"
        api.download_bucket_files(bucket, [(path, target)])
        return target.read_bytes()

    return read
