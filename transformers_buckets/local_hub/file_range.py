"""Byte ranges: reading the `Range` header, and sending a part of a file with little work per byte."""

import os
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import HubError


_PIECE = 1024 * 1024  # bytes per write to the socket


def parse_range(request: Request, size: int) -> tuple[int, int]:
    """The wanted bytes as (start, end), end exclusive; all of them without a `Range` header.

    Raises:
        [`HubError`]: 416 if the range begins past the end, 400 if it is more than one range or no range.
    """
    header = request.headers.get("range")
    if header is None:
        return 0, size
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", header)
    if match is None or match[1] == match[2] == "":
        raise HubError(400, f"Cannot serve the range '{header}'")
    if match[1] == "":
        return max(0, size - int(match[2])), size
    start = int(match[1])
    end = min(size, int(match[2]) + 1) if match[2] else size
    if start >= end:
        raise HubError(416, f"The range '{header}' lies outside of {size} bytes")
    return start, end


class FileRange(Response):
    """Bytes `start` to `end` (exclusive) of a file, read in large pieces.

    The files served are in the page cache or on a local disk: a read in the event loop is cheaper than a thread for it.
    """

    def __init__(self, path: Path, start: int, end: int, size: int):
        self.path = path
        self.start = start
        self.end = end
        self.status_code = 206
        self.background = None
        self.media_type = "application/octet-stream"
        self.init_headers(
            {
                "content-length": str(end - start),
                "content-range": f"bytes {start}-{end - 1}/{size}",
                "accept-ranges": "bytes",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with open(self.path, "rb", buffering=0) as file:
            offset = self.start
            while offset < self.end:
                piece = os.pread(file.fileno(), min(_PIECE, self.end - offset), offset)
                offset += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": offset < self.end})
