"""What the Hub answers when it refuses, in the form that `huggingface_hub` turns into its exceptions."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class HubError(Exception):
    """A refusal: HTTP status, a message for people, and the `X-Error-Code` that picks the client's exception.

    Args:
        status (`int`):
            HTTP status of the answer.
        message (`str`):
            Text for the user, sent as `error` in the JSON body and as `X-Error-Message`.
        code (`str`, *optional*):
            `RepoNotFound`, `EntryNotFound` or `RevisionNotFound`; without it the client raises a plain `HfHubHTTPError`.
        headers (`dict[str, str]`, *optional*):
            More headers of the answer.
        **details:
            More fields for the JSON body, such as the `url` that a 409 on create must carry.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: dict | None = None, **details: object
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.details = details


def hub_error_response(request: Request, error: HubError) -> JSONResponse:
    headers = {"X-Error-Message": error.message.encode("ascii", "replace").decode(), **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse({"error": error.message, **error.details}, error.status, headers)


def client_gone_response(request: Request, error: Exception) -> Response:
    """Nobody reads this. It keeps a client that is killed in the middle of an upload from being an error here."""
    return Response(status_code=400)


def unknown_route_response(request: Request, error: Exception) -> JSONResponse:
    """The Hub has no 405: a route that does not exist with this method does not exist."""
    return hub_error_response(request, HubError(404, f"Sorry, we can't find {request.method} {request.url.path}"))
