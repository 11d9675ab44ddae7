"""Buckets as a whole: show, list."""

import sqlite3
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import JSONResponse

from .accounts import account_of, has_namespace
from .errors import HubError
from .pages import page
from .repos import find_repo, id_of
from .store import Store, store_of


async def bucket_info(request: Request) -> JSONResponse:
    return JSONResponse(_info(store_of(request), find_repo(request)))


async def list_buckets(request: Request) -> JSONResponse:
    store, account = store_of(request), account_of(request)
    namespace = request.path_params["namespace"]
    namespace = account.require_user() if namespace == "me" else namespace
    if not has_namespace(store, namespace):
        raise HubError(404, f"There is no user or organization '{namespace}'")
    search = request.query_params.get("search", "").lower()
    buckets = [
        bucket
        for bucket in store.rows("SELECT * FROM buckets WHERE namespace = ? ORDER BY name", namespace)
        if search in bucket["name"].lower() and account.may_read(bucket)
    ]
    return page(request, buckets, itemgetter("name"), lambda bucket: _info(store, bucket))


def _info(store: Store, bucket: sqlite3.Row) -> dict:
    files = store.row(
        "SELECT coalesce(sum(size), 0) AS size, count(*) AS count FROM bucket_files WHERE bucket = ?", bucket["id"]
    )
    return {
        "id": id_of(bucket),
        "private": bool(bucket["private"]),
        "createdAt": bucket["created_at"],
        "size": files["size"],
        "totalFiles": files["count"],
    }
