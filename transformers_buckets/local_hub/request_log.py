"""Every request that a client sent, in the order of arrival, with the bytes that went each way."""

import re
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import Scope


INTERNAL_HEADER = "x-local-hub-secret"
_KEPT = 100_000


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
        status (`int`, *optional*):
            Status of the answer. None as long as there is none, or if the connection was dropped instead.
        received (`int`), sent (`int`):
            Bytes of the bodies of request and response.
        user_agent (`str`):
            Who the client says it is.
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


class RequestLog:
    """The newest 100,000 requests, in memory: a restart begins a new log."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self._count = 0

    def arrive(self, scope: Scope) -> Request:
        self._count += 1
        query = scope["query_string"].decode()
        path = scope["path"] + (f"?{unquote(query)}" if query else "")
        headers = dict(scope["headers"])
        agent = headers.get(b"user-agent", b"").decode("latin-1")
        request = Request(self._count, time.time(), scope["method"], path, agent)
        self.requests.append(request)
        return request

    def find(self, match: str | None) -> list[Request]:
        return [request for request in self.requests if match is None or re.search(match, request.line)]
