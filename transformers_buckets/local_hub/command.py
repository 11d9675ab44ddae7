"""The command `python -m transformers_buckets.local_hub`."""

import argparse
import json
import os
import secrets
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import uvicorn

from .connection import Connection


_SERVING = {
    "ws": "none",
    "lifespan": "off",
    "proxy_headers": False,
    "log_level": "warning",
    # Longer than clients keep idle connections, so that none is closed under a request.
    "timeout_keep_alive": 75,
    "timeout_graceful_shutdown": 1,
}


def main(argv: list[str] | None = None) -> int:
    """Serves a folder as a Hub until it is interrupted.

    Args:
        argv (`list[str]`, *optional*):
            Arguments after the name of the command; those of this process if missing.

    Returns:
        `int`: Exit status: 0, or 1 if the port is taken.

    Example:

    ```py
    >>> from transformers_buckets.local_hub import main

    >>> main(["--dir", "hub-data", "--port", "8080"])
    ```
    """
    arguments = _parser().parse_args(argv)
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"Cannot listen on {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 1
    host, port = listener.getsockname()
    endpoint = f"http://{host}:{port}"
    orders = json.loads(sys.stdin.readline()) if arguments.managed else {}

    # hf_xet, which the server itself uses to serve content, must not write into the user's cache.
    os.environ["HF_HOME"] = str(arguments.dir / "client")
    from .app import build_app

    traffic = build_app(arguments.dir, orders.get("secret") or secrets.token_hex(32))
    token = traffic.app.state.accounts.owner_token(arguments.user, orders.get("token"))
    server = uvicorn.Server(uvicorn.Config(traffic, http=Connection, **_SERVING))
    if arguments.managed:
        threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
        print(json.dumps({"endpoint": endpoint, "token": token}), flush=True)
    else:
        print(f"# Serving {arguments.dir} at {endpoint} for the user '{arguments.user}'. Ctrl+C stops it.")
        print(f"export HF_ENDPOINT={endpoint}")
        print(f"export HF_TOKEN={token}", flush=True)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m transformers_buckets.local_hub", description="Serve a folder as a Hugging Face Hub."
    )
    parser.add_argument("--dir", type=Path, required=True, help="folder for the data, created if missing")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on, 0 picks a free one (default: 8080)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--user", default="demo", help="user whose token is printed (default: demo)")
    parser.add_argument(
        "--managed",
        action="store_true",
        help="for LocalHub: read a JSON line of orders from stdin, report in JSON, stop when stdin closes",
    )
    return parser


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2048)
    return listener


def _stop_with_parent(server: uvicorn.Server) -> None:
    """The pipe closes when the parent stops us, and just as well when the parent was killed."""
    sys.stdin.read()
    server.should_exit = True
