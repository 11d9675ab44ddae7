"""Things that go wrong on demand, so that a test can see what a client does about them."""

import asyncio
import os
import re
import signal
from dataclasses import dataclass, field

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """What to do to requests that match. `delay` goes with any other kind.

    Args:
        match (`str`):
            Regular expression, searched in `METHOD /path?query` (percent-decoded).
        client (`str`, *optional*):
            Regular expression, searched in what the client says it is (`User-Agent`; `HF_HUB_USER_AGENT_ORIGIN` is in there).
        status (`int`, *optional*):
            Do nothing and answer with this status, or with 200 if there is only a `body`.
        body (`str` or anything in JSON, *optional*):
            What is in that answer: a `str` is sent as HTML, everything else as JSON. By default an error.
        headers (`dict[str, str]`, *optional*):
            Sent along with `status` or `body`, such as `{"Retry-After": "1"}`.
        delay (`float`, *optional*):
            Wait so many seconds before anything else.
        stall (`"before"` or `int`, *optional*):
            Go silent, with the connection open until the client closes it: without doing anything (a black hole), or
            after so many bytes of the response body.
        cut (`"before"` or `int`, *optional*):
            Drop the connection: before the request has any effect, or after so many bytes of the response body.
        lose_response (`bool`, *optional*, defaults to `False`):
            Do what is asked, then drop the connection without an answer.
        corrupt (`bool`, *optional*, defaults to `False`):
            Flip one bit in the middle of the response body.
        kill (`int`, *optional*):
            End the process with this id by SIGKILL: before the request has any effect or, together with
            `lose_response`, after. The client dies in the middle of it, or, with [`LocalHub.pid`], the Hub.
        times (`int`, *optional*, defaults to 1):
            How many requests it hits. None: all, until [`LocalHub.clear_faults`].
        skip (`int`, *optional*, defaults to 0):
            How many matching requests it lets pass first.
    """

    match: str
    client: str | None = None
    status: int | None = None
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float | None = None
    stall: str | int | None = None
    cut: str | int | None = None
    lose_response: bool = False
    corrupt: bool = False
    kill: int | None = None
    times: int | None = 1
    skip: int = 0
    number: int = 0

    async def apply(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request with this fault in the way."""
        if self.delay is not None:
            await asyncio.sleep(self.delay)
        if self.status is not None or self.body is not None:
            await _read_to_end(receive)
            await self._answer()(scope, receive, send)
        elif self.stall == "before":
            await _wait_for_disconnect(receive)
        elif self.cut == "before":
            await _drop_connection(scope, receive)
        elif self.stall is not None or self.cut is not None:
            await app(scope, receive, self._break_off(scope, receive, send))
        elif self.lose_response or self.kill is not None:
            if self.lose_response:
                await app(scope, receive, _discard)
            if self.kill is not None:
                os.kill(self.kill, signal.SIGKILL)
            await _drop_connection(scope, receive)
        elif self.corrupt:
            await app(scope, receive, _corrupting(send))
        else:
            await app(scope, receive, send)

    def _answer(self) -> Response:
        status = self.status or 200
        if isinstance(self.body, str):
            return HTMLResponse(self.body, status, self.headers)
        message = f"Fault {self.number} of the local Hub"
        body = {"error": message} if self.body is None else self.body
        return JSONResponse(
            body, status, {"X-Error-Message": message, **self.headers} if status >= 400 else self.headers
        )

    def _break_off(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """Lets through so many bytes of the body, then goes silent, or hangs up."""
        left = int(self.cut if self.stall is None else self.stall)

        async def send_a_part(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if message["type"] == "http.response.start" or len(body) < left:
                left -= len(body)
                await send(message)
            elif left >= 0:
                await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                left = -1
                if self.stall is None:
                    scope["state"]["transport"].close()  # unlike abort, it lets those bytes reach the client
                await _wait_for_disconnect(receive)

        return send_a_part


class Faults:
    """The faults that are waiting for their requests; the first that matches takes one."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self._count = 0

    def add(self, **fields: object) -> int:
        self._count += 1
        fault = Fault(**{**fields, "number": self._count})
        re.compile(fault.match)
        re.compile(fault.client or "")
        self.waiting.append(fault)
        return fault.number

    def take(self, line: str, client: str = "") -> Fault | None:
        for fault in self.waiting:
            if re.search(fault.match, line) is None or re.search(fault.client or "", client) is None:
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


def _corrupting(send: Send) -> Send:
    """Flips the lowest bit of the byte in the middle of the body: far from headers, in what the file is made of."""
    offset = target = 0

    async def send_corrupt(message: Message) -> None:
        nonlocal offset, target
        if message["type"] == "http.response.start":
            target = int(dict(message["headers"]).get(b"content-length", b"0")) // 2
        else:
            body = message.get("body", b"")
            index = target - offset
            if 0 <= index < len(body):
                message = {**message, "body": body[:index] + bytes([body[index] ^ 1]) + body[index + 1 :]}
            offset += len(body)
        await send(message)

    return send_corrupt


async def _discard(message: Message) -> None:
    pass


async def _drop_connection(scope: Scope, receive: Receive) -> None:
    """Ends the connection without an answer: the client sees a connection error."""
    scope["state"]["transport"].abort()
    await _wait_for_disconnect(receive)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_to_end(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass
