"""What every request passes first."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import HubError, hub_error_response


class Door:
    """Middleware around all routes: no NUL gets in, and no name for this server that is the client's invention."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            refusal = hub_error_response(Request(scope), HubError(400, "A name must not hold the character NUL"))
            return await refusal(scope, receive, send)
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        await self.app({**scope, "headers": [(b"host", _own_host(scope)), *headers]}, receive, send)


def _own_host(scope: Scope) -> bytes:
    """The name of this server in the addresses it gives out, such as `casUrl`, to which clients then send a token.

    It is the address at which the connection arrived, whatever name led there. Only who came to this machine by
    `localhost` is sent there again, to the same port: that may be the near end of a tunnel.
    """
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    name, _, port = host.partition(":")
    if name in ("localhost", "127.0.0.1") and (port.isdecimal() or not port):
        return host.encode()
    return "{}:{}".format(*scope["server"]).encode()
