"""Where the local Hub of a benchmark is, and how this process finds it."""

import os
import shutil
import socket
from pathlib import Path


TOKEN = "hf_of_the_benchmark"


def folder_for(size: float) -> Path | None:
    """A folder in memory, if it has room for so many bytes: then the Hub leaves the disk alone."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > size:
        return memory
    return None


def choose_port(folder: Path, **settings: str) -> int:
    """
    Choose the port of a local Hub that is about to be, and let this process and those that it starts talk to that one.

    To be called before anything imports `huggingface_hub`, which reads its settings when it is imported.

    Args:
        folder (`Path`):
            Where what `huggingface_hub` keeps on this machine goes.
        settings (`dict[str, str]`, *optional*):
            More settings, by the names of environment variables.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    os.environ.update(
        HF_ENDPOINT=f"http://127.0.0.1:{port}",
        HF_HOME=str(folder / "hf-home"),
        HF_TOKEN=TOKEN,
        HF_HUB_DISABLE_TELEMETRY="1",
        **settings,
    )
    return port
