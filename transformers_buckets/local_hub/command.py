"""The command `python -m transformers_buckets.local_hub`."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from .accounts import create_token
from .errors import CannotServe
from .serving import endpoint_of, listen, open_hub, server_of


def main(argv: list[str] | None = None) -> int:
    """Serves a folder as a Hub until it is interrupted.

    Args:
        argv (`list[str]`, *optional*):
            Arguments after the name of the command; those of this process if missing.

    Returns:
        `int`: Exit status: 0, or 1 if the port is taken or another Hub serves the folder.

    Example:

    ```py
    >>> from transformers_buckets.local_hub import main

    >>> main(["--dir", "hub-data", "--port", "8080"])
    ```
    """
    arguments = _parser().parse_args(argv)
    try:
        listener = listen(arguments.host, arguments.port)
        app = open_hub(arguments.dir)
    except CannotServe as error:
        print(error, file=sys.stderr)
        return 1
    token = create_token(app.state.store, arguments.user, {arguments.user: "write"})
    endpoint = endpoint_of(listener)
    print(f"# Serving {arguments.dir} at {endpoint} for the user '{arguments.user}'. Ctrl+C stops it.")
    print(f"export HF_ENDPOINT={endpoint}")
    print(f"export HF_TOKEN={token}", flush=True)
    with suppress(KeyboardInterrupt):
        server_of(app).run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m transformers_buckets.local_hub", description="Serve a folder as a Hugging Face Hub."
    )
    parser.add_argument("--dir", type=Path, required=True, help="folder for the data, created if missing")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on, 0 picks a free one (default: 8080)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--user", default="demo", help="user whose token is printed (default: demo)")
    return parser
