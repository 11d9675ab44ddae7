"""Every test here talks to a Hub of its own: one process on this machine, fresh for the session."""

import gc
import os
import re
import socket
import tempfile


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# `huggingface_hub` reads its settings when it is imported, so they are made before anything else is.
_FOLDER = tempfile.mkdtemp(prefix="transformers-buckets-")
_PORT = _free_port()
os.environ.update(
    HF_ENDPOINT=f"http://127.0.0.1:{_PORT}",
    HF_HOME=f"{_FOLDER}/hf-home",
    HF_TOKEN="hf_of_the_tests",
    HF_HUB_DISABLE_TELEMETRY="1",
    # A Hub that stays down is given up after a second instead of four minutes.
    HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="2",
    HF_XET_CLIENT_RETRY_BASE_DELAY="100ms",
    HF_XET_CLIENT_RETRY_MAX_DURATION="2s",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",  # models of this size only lose time to threads, and bit-identity needs a fixed number
)

import pytest  # noqa: E402
from huggingface_hub import HfApi  # noqa: E402

from transformers_buckets.bucket import patience  # noqa: E402
from transformers_buckets.local_hub import LocalHub  # noqa: E402
from transformers_buckets.saving import lane  # noqa: E402


def pytest_collection_finish():
    """All that was imported stays: the garbage collection that ends every training need not look at it, which is half of its time."""
    gc.freeze()


@pytest.fixture(scope="session")
def session_hub():
    with LocalHub(f"{_FOLDER}/hub", port=_PORT, namespace="demo", token=os.environ["HF_TOKEN"]) as hub:
        yield hub


@pytest.fixture
def hub(session_hub):
    """The local Hub, without faults and with an empty request log."""
    session_hub.clear_faults()
    session_hub.clear_requests()
    yield session_hub
    session_hub.clear_faults()


@pytest.fixture
def api(hub):
    return HfApi()


@pytest.fixture
def bucket_id(request, hub) -> str:
    """A bucket id nobody used before."""
    name = "-".join(re.findall("[0-9A-Za-z]+", request.node.name))[:60].strip("-")
    return f"demo/{name}-{os.urandom(4).hex()}"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Delays between attempts are for Hubs that are down, not for tests."""
    monkeypatch.setattr(lane, "RETRY_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(patience, "RETRY_DELAYS", (0.01, 0.01))


@pytest.fixture
def messages(caplog):
    """What the user was told, line by line."""
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("transformers_buckets")]
