"""Things that go wrong on demand, so that a test can see what a client does about them."""

import asyncio
import os
import re
import signal
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """What to do to requests that match. See [`LocalHub.fault`] for the fields."""

    id: int
    match: str
    status: int | None = None
    delay: float | None = None
    cut: str | int | None = None
    lose_response: bool = False
    corrupt: bool = False
    kill: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = 1
    skip: int = 0

    async def apply(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request with this fault in the way."""
        if self.delay is not None:
            await asyncio.sleep(self.delay)
        if self.status is not None:
            await _read_to_end(receive)
            message = f"Fault {self.id} of the local Hub"
            refusal = JSONResponse({"error": message}, self.status, {"X-Error-Message": message, **self.headers})
            await refusal(scope, receive, send)
        elif self.cut == "before":
            await drop_connection(scope, receive)
        elif self.cut is not None:
            await app(scope, receive, _Cut(scope, receive, send, int(self.cut)))
        elif self.lose_response or self.kill is not None:
            if self.lose_response:
                await app(scope, receive, _discard)
            if self.kill is not None:
                os.kill(self.kill, signal.SIGKILL)
            await drop_connection(scope, receive)
        elif self.corrupt:
            await app(scope, receive, _Corrupt(send))
        else:
            await app(scope, receive, send)


class Faults:
    """The faults that are waiting for their requests; the first that matches takes one."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self._count = 0

    def add(self, **fields: object) -> int:
        self._count += 1
        fault = Fault(self._count, **fields)
        re.compile(fault.match)
        self.waiting.append(fault)
        return fault.id

    def take(self, line: str) -> Fault | None:
        for fault in self.waiting:
            if re.search(fault.match, line) is None:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self.waiting.remove(fault)
            return fault
        return None


class _Corrupt:
    """Flips the lowest bit of the byte in the middle of the body: far from headers, in what the file is made of."""

    def __init__(self, send: Send):
        self.send = send
        self.offset = 0
        self.target = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.target = int(dict(message["headers"]).get(b"content-length", b"0")) // 2
        else:
            body = message.get("body", b"")
            index = self.target - self.offset
            if 0 <= index < len(body):
                message = {**message, "body": body[:index] + bytes([body[index] ^ 1]) + body[index + 1 :]}
            self.offset += len(body)
        await self.send(message)


class _Cut:
    """Lets through so many bytes of the body, then hangs up."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, length: int):
        self.scope = scope
        self.receive = receive
        self.send = send
        self.left = length

    async def __call__(self, message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] == "http.response.start" or len(body) < self.left:
            self.left -= len(body)
            await self.send(message)
        elif self.left >= 0:
            await self.send({"type": "http.response.body", "body": body[: self.left], "more_body": True})
            self.left = -1
            # Unlike abort, close lets those bytes reach the client.
            self.scope["state"]["transport"].close()
            await _wait_for_disconnect(self.receive)


async def _discard(message: Message) -> None:
    pass


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Ends the connection without an answer: the client sees a connection error."""
    scope["state"]["transport"].abort()
    await _wait_for_disconnect(receive)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_to_end(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass
