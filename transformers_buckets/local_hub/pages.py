"""Long answers in pages, chained by `Link: <...>; rel="next"` as the Hub does."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse


_PAGE_SIZE = 1000

Item = TypeVar("Item")


def page(request: Request, items: Iterable[Item], key: Callable[[Item], str], as_json: Callable) -> JSONResponse:
    """One page of `items`, and the address of the next.

    The cursor is the key of the last item rather than a count, so that what another client deletes between two pages
    makes none of the others disappear.

    Args:
        request (`Request`):
            May carry `cursor` (from the last page) and `limit` (at most 1000, which is the default).
        items (iterable):
            All items, sorted by key.
        key (callable):
            Gives the key of an item.
        as_json (callable):
            Gives what is sent for an item; called for the items of this page only.
    """
    cursor = request.query_params.get("cursor", "")
    size = min(_PAGE_SIZE, int(request.query_params.get("limit", _PAGE_SIZE)))
    window = list(islice((item for item in items if key(item) > cursor), size + 1))
    headers = {}
    if len(window) > size:
        next_page = request.url.include_query_params(cursor=key(window[size - 1]))
        headers["Link"] = f'<{next_page}>; rel="next"'
    return JSONResponse([as_json(item) for item in window[:size]], headers=headers)
