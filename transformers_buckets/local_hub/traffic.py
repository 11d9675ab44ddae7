"""What every request passes on its way in: the log, holds and faults."""

import asyncio
import hmac
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import Faults
from .request_log import INTERNAL_HEADER, Request, RequestLog


class Traffic:
    """Middleware around the whole app. Requests that carry the internal secret pass unseen.

    Args:
        app (`ASGIApp`):
            What answers.
        secret (`str`):
            Known to the controlling process and to the server itself.
    """

    def __init__(self, app: ASGIApp, secret: str):
        self.app = app
        self.log = RequestLog()
        self.faults = Faults()
        self._secret = secret.encode()
        self._holds: list[str] = []
        self._released = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_internal(scope):
            return await self.app(scope, receive, send)
        request = self.log.arrive(scope)
        await self._announce()
        while any(re.search(match, request.line) for match in self._holds):
            await self._released.wait()
        receive, send = _counting(request, receive, send)
        fault = self.faults.take(request.line)
        if fault is None:
            await self.app(scope, receive, send)
        else:
            await fault.apply(self.app, scope, receive, send)

    def _is_internal(self, scope: Scope) -> bool:
        shown = dict(scope["headers"]).get(INTERNAL_HEADER.encode(), b"")
        return hmac.compare_digest(shown, self._secret)

    async def _announce(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    def hold(self, match: str) -> None:
        re.compile(match)
        self._holds.append(match)

    def release(self) -> None:
        self._holds.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def wait_for(self, match: str, timeout: float) -> Request | None:
        """The first request in the log that matches, as soon as there is one; None after `timeout` seconds."""
        async with self._arrived:
            arrival = self._arrived.wait_for(lambda: self.log.find(match))
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
