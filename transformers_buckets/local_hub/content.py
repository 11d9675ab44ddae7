"""The content of a file over plain HTTP: what `resolve` answers for what lies in the Xet storage."""

import re

import hf_xet
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .errors import HubError
from .xet.tokens import grant


def xet_content(
    request: Request, xet_hash: str, size: int, token_route: str, media_type: str | None, headers: dict[str, str]
) -> Response:
    """Answers GET and HEAD for a file in the Xet storage, with the headers that lead a Xet client to it.

    `token_route` is where the client gets a read token; `headers` are more of them, the ETag among them.
    """
    start, end = parse_range(request, size)
    headers = {
        "X-Xet-Hash": xet_hash,
        "X-Xet-Refresh-Route": token_route,
        "Link": f'<{token_route}>; rel="xet-auth"',
        "X-Linked-Size": str(size),
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        **headers,
    }
    status = 200
    if "range" in request.headers:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    media_type = media_type or "application/octet-stream"
    if request.method == "HEAD" or start == end:
        return Response(None, status, headers, media_type)
    pieces = _download(request, hf_xet.XetFileInfo(xet_hash, size), start, end)
    return StreamingResponse(iterate_in_threadpool(pieces), status, headers, media_type)


def _download(request: Request, file: hf_xet.XetFileInfo, start: int, end: int) -> hf_xet.XetDownloadStream:
    """The real client decodes: this server is its own Xet storage, at the address where this request came in."""
    connection = grant(request, "read")
    host, port = request.scope["server"]
    group = request.app.state.xet_session.new_download_stream_group(
        endpoint=f"http://{host}:{port}",
        token=connection.token,
        token_expiry_unix_secs=connection.expires,
        custom_headers=request.app.state.own_headers,
    )
    return group.download_stream(file, start, end)


def parse_range(request: Request, size: int) -> tuple[int, int]:
    """The wanted bytes of what is no file here as (start, end), end exclusive; all without a `Range` header."""
    header = request.headers.get("range")
    if header is None:
        return 0, size
    match = re.fullmatch(r"bytes=(\d{1,18})-(\d{1,18})?|bytes=-(\d{1,18})", header)
    if match is None:
        raise HubError(400, f"Cannot serve the range '{header}'")
    if match[3]:
        start, end = max(0, size - int(match[3])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    if start >= end:
        raise HubError(416, f"The range '{header}' lies outside of {size} bytes")
    return start, end
