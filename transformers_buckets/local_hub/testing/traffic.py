"""What every request passes on its way in: the log, holds and faults."""

import asyncio
import hmac
import re
import time
from collections import deque
from dataclasses import asdict, dataclass
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import Faults


SECRET_HEADER = "x-local-hub-secret"
_KEPT = 100_000  # requests in the log


@dataclass
class Request:
    """A request in the log.

    Args:
        number (`int`):
            1 for the first one after a start of the server, and so on.
        time (`float`):
            Arrival in seconds since 1970.
        method (`str`), path (`str`):
            As sent; the path includes the query and is percent-decoded.
        user_agent (`str`):
            Who the client says it is.
        status (`int`, *optional*):
            Status of the answer. None as long as there is none, or if the connection was dropped instead.
        received (`int`), sent (`int`):
            Bytes of the bodies of request and response.
    """

    number: int
    time: float
    method: str
    path: str
    user_agent: str
    status: int | None = None
    received: int = 0
    sent: int = 0

    @property
    def line(self) -> str:
        """What a fault, a hold or a search is matched with: `METHOD /path?query`."""
        return f"{self.method} {self.path}"


class Traffic:
    """Middleware around the whole app. Requests that carry the secret pass unseen: those of the controlling program,
    and those that the server sends to itself.
    """

    def __init__(self, app: ASGIApp, secret: str):
        self.app = app
        self.log: deque[Request] = deque(maxlen=_KEPT)
        self.faults = Faults()
        self._secret = secret.encode()
        self._count = 0
        self._holds: list[str] = []
        self._released = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_internal(scope):
            return await self.app(scope, receive, send)
        request = self._log(scope)
        async with self._arrived:
            self._arrived.notify_all()
        while any(re.search(match, request.line) for match in self._holds):
            await self._released.wait()
        receive, send = _counting(request, receive, send)
        fault = self.faults.take(request.line, request.user_agent)
        if fault is None:
            await self.app(scope, receive, send)
        else:
            await fault.apply(self.app, scope, receive, send)

    def is_internal(self, scope: Scope) -> bool:
        return hmac.compare_digest(Headers(scope=scope).get(SECRET_HEADER, "").encode(), self._secret)

    def _log(self, scope: Scope) -> Request:
        self._count += 1
        query = scope["query_string"].decode()
        path = scope["path"] + (f"?{unquote(query)}" if query else "")
        agent = Headers(scope=scope).get("user-agent", "")
        self.log.append(Request(self._count, time.time(), scope["method"], path, agent))
        return self.log[-1]

    def requests(self, match: str | None) -> list[dict]:
        return [asdict(request) for request in self.log if match is None or re.search(match, request.line)]

    def hold(self, match: str) -> None:
        re.compile(match)
        self._holds.append(match)

    def release(self) -> None:
        self._holds.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def wait_for(self, match: str, timeout: float) -> dict | None:
        """The first request in the log that matches, as soon as there is one; None after `timeout` seconds."""
        async with self._arrived:
            arrival = self._arrived.wait_for(lambda: self.requests(match))
            try:
                return (await asyncio.wait_for(arrival, timeout))[0]
            except asyncio.TimeoutError:
                return None


def _counting(request: Request, receive: Receive, send: Send) -> tuple[Receive, Send]:
    async def count_received() -> Message:
        message = await receive()
        request.received += len(message.get("body", b""))
        return message

    async def count_sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            # Errors of the client quote it, so that they can be found in the log.
            message["headers"] = [*message["headers"], (b"x-request-id", b"%d" % request.number)]
        await send(message)
        if message["type"] == "http.response.start":
            request.status = message["status"]
        elif request.method != "HEAD":
            request.sent += len(message.get("body", b""))

    return count_received, count_sent
