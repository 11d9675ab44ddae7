"""The content of a file over plain HTTP: what `resolve` answers for what lies in the Xet storage."""

import hf_xet
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .file_range import parse_range
from .request_log import INTERNAL_HEADER


def blob_content(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """Answers GET and HEAD for small text of a repo."""
    start, end = parse_range(request, len(content))
    headers = {**_range_headers(request, start, end, len(content)), **headers}
    return Response(content[start:end], _status(request), headers, "text/plain")


def xet_content(
    request: Request, xet_hash: str, size: int, token_route: str, media_type: str | None, headers: dict[str, str]
) -> Response:
    """Answers GET and HEAD for a file in the Xet storage, with the headers that lead a Xet client to it.

    Args:
        request (`Request`):
            May carry a `Range`.
        xet_hash (`str`), size (`int`):
            The file.
        token_route (`str`):
            Address where the client gets a read token.
        media_type (`str`, *optional*):
            Content type, `application/octet-stream` if unknown.
        headers (`dict[str, str]`):
            More headers, the ETag among them.
    """
    start, end = parse_range(request, size)
    headers = {
        "X-Xet-Hash": xet_hash,
        "X-Xet-Refresh-Route": token_route,
        "Link": f'<{token_route}>; rel="xet-auth"',
        "X-Linked-Size": str(size),
        **_range_headers(request, start, end, size),
        **headers,
    }
    media_type = media_type or "application/octet-stream"
    if request.method == "HEAD" or start == end:
        return Response(None, _status(request), headers, media_type)
    pieces = _download(request, hf_xet.XetFileInfo(xet_hash, size), start, end)
    return StreamingResponse(iterate_in_threadpool(pieces), _status(request), headers, media_type)


def _download(request: Request, file: hf_xet.XetFileInfo, start: int, end: int) -> hf_xet.XetDownloadStream:
    """The real client decodes: this server is its own Xet storage."""
    state = request.app.state
    connection = state.xet_tokens.grant(request, "read")
    group = state.xet_session.new_download_stream_group(
        endpoint=connection.storage,
        token=connection.token,
        token_expiry_unix_secs=connection.expires,
        custom_headers={INTERNAL_HEADER: state.internal_secret},
    )
    return group.download_stream(file, start, end)


def _status(request: Request) -> int:
    return 206 if "range" in request.headers else 200


def _range_headers(request: Request, start: int, end: int, size: int) -> dict[str, str]:
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if "range" in request.headers:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return headers
