"""What the Hub answers when it refuses, in the form that `huggingface_hub` turns into its exceptions."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class CannotServe(Exception):
    """The Hub cannot start: the text says why and what to do."""


class HubError(Exception):
    """A refusal: HTTP status, a text for the user, and the `X-Error-Code` that picks the client's exception.

    That is `RepoNotFound`, `EntryNotFound` or `RevisionNotFound`. `details` are more fields of the JSON body, such as
    the `url` that a 409 on create must carry.
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
    # A message may quote what the client sent: a header can carry little of that, the body all.
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in error.message[:1000])
    headers = {"X-Error-Message": text, **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse({"error": error.message, **error.details}, error.status, headers)


def client_gone_response(request: Request, error: Exception) -> Response:
    """Nobody reads this. It keeps a client that is killed in the middle of an upload from being an error here."""
    return Response(status_code=400)


def no_unicode_response(request: Request, error: Exception) -> JSONResponse:
    """JSON can hold halves of characters (`"\\ud800"`), which nothing here can store."""
    return hub_error_response(request, HubError(400, "The request holds text that is not valid Unicode"))


def unknown_route_response(request: Request, error: Exception) -> JSONResponse:
    """The Hub has no 405: a route that does not exist with this method does not exist."""
    return hub_error_response(request, HubError(404, f"Sorry, we can't find {request.method} {request.url.path}"))
