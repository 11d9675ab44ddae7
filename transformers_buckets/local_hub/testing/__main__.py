"""The process behind `LocalHub`: a Hub with control routes, which only the program that started it can open."""

import inspect
import json
import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..accounts import create_token, revoke_token
from ..errors import CannotServe, HubError
from ..quotas import set_quota
from ..serving import listen, open_hub, server_of
from .connection import Connection
from .traffic import SECRET_HEADER, Traffic


def main() -> int:
    """Reads a line of orders from stdin, reports in a line on stdout, and stops when stdin closes."""
    orders = json.loads(sys.stdin.readline())
    try:
        listener = listen("127.0.0.1", orders["port"])
        app = open_hub(Path(orders["directory"]))
    except CannotServe as error:
        print(error, file=sys.stderr)
        return 1
    user = orders["namespace"]
    token = create_token(app.state.store, user, {user: "write"}, orders["token"])
    app.state.own_headers = {SECRET_HEADER: orders["secret"]}
    traffic = Traffic(app, orders["secret"])
    app.router.routes.append(_control_route(app, traffic))
    server = server_of(traffic, http=Connection)
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1], "token": token}), flush=True)
    server.run(sockets=[listener])
    return 0


def _control_route(app: Starlette, traffic: Traffic) -> Route:
    store = app.state.store
    commands: dict[str, Callable] = {
        "create_token": partial(create_token, store),
        "revoke_token": partial(revoke_token, store),
        "set_quota": partial(set_quota, store),
        "fault": traffic.faults.add,
        "clear_faults": traffic.faults.waiting.clear,
        "requests": traffic.requests,
        "clear_requests": traffic.log.clear,
        "hold": traffic.hold,
        "release": traffic.release,
        "wait_for": traffic.wait_for,
    }

    async def control(request: Request) -> JSONResponse:
        if not traffic.is_internal(request.scope):
            raise HubError(404, "Not found")
        try:
            answer = commands[request.path_params["command"]](**await request.json())
            return JSONResponse(await answer if inspect.isawaitable(answer) else answer)
        except (ValueError, re.error) as error:
            raise HubError(400, str(error)) from error

    return Route("/_local_hub/{command}", control, methods=["POST"])


def _stop_with_parent(server: uvicorn.Server) -> None:
    """The pipe closes when the parent stops us, and just as well when the parent was killed."""
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
