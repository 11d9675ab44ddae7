"""A folder, as a server that listens."""

import os
import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from .errors import CannotServe
from .store import Store


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 picks a free one.

    Raises:
        [`CannotServe`]: If the port is taken, or the host is not this machine.
    """
    try:
        return socket.create_server((host, port), backlog=2048)
    except (OSError, OverflowError) as error:
        raise CannotServe(f"Cannot listen on {host}:{port}: {error}") from error


def endpoint_of(listener: socket.socket) -> str:
    return "http://{}:{}".format(*listener.getsockname())


def open_hub(directory: Path) -> Starlette:
    """The Hub in a folder, for this process alone, and for no other user of the machine to read.

    Raises:
        [`CannotServe`]: If another process serves the folder, or it was made by another version.
    """
    os.umask(0o077)
    store = Store(directory)
    # hf_xet, which the server itself uses to serve content, must not write into the user's cache.
    os.environ["HF_HOME"] = str(directory / "client")
    from .app import build_app

    return build_app(store)


def server_of(app: object, **settings: object) -> uvicorn.Server:
    """What runs the app, by `run(sockets=[listener])`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_level="warning",
            timeout_keep_alive=75,  # longer than clients keep idle connections, so that none is closed under a request
            timeout_graceful_shutdown=1,
            **{"http": "h11", **settings},
        )
    )
