"""Long answers in pages, chained by `Link: <...>; rel="next"` as the Hub does."""

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse


_PAGE_SIZE = 1000

Item = TypeVar("Item")


def page(request: Request, items: Iterable[Item], key: Callable[[Item], str], as_json: Callable) -> JSONResponse:
    """One page of `items`, which are sorted by `key`, and the address of the next.

    The cursor is the key of the last item rather than a count, so that what another client deletes between two pages
    makes none of the others disappear.
    """
    cursor = request.query_params.get("cursor", "")
    limit = request.query_params.get("limit", "")
    size = min(_PAGE_SIZE, int(limit)) if re.fullmatch("[1-9][0-9]{0,8}", limit) else _PAGE_SIZE
    window = list(islice((item for item in items if key(item) > cursor), size + 1))
    headers = {}
    if len(window) > size:
        query = request.url.include_query_params(cursor=key(window[size - 1])).query
        headers["Link"] = f'<{request.base_url}{quote(request.scope["path"][1:])}?{query}>; rel="next"'
    return JSONResponse([as_json(item) for item in window[:size]], headers=headers)
