"""Buckets as a whole: create, show, list, change, move, delete."""

import re
import sqlite3
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import Account, not_found, require_read, require_write
from .errors import HubError
from .pages import page
from .store import Store


_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?", re.ASCII)


def find_bucket(request: Request, write: bool = False) -> sqlite3.Row:
    """The bucket in the address of a request, if the caller may read it (with `write`: may change it)."""
    account = request.app.state.accounts.authenticate(request)
    return _find(request.app.state.store, account, *_address(request), write)


def _address(request: Request) -> tuple[str, str]:
    return request.path_params["namespace"], request.path_params["name"]


def _find(store: Store, account: Account, namespace: str, name: str, write: bool) -> sqlite3.Row:
    bucket = store.row("SELECT * FROM buckets WHERE namespace = ? AND name = ?", namespace, name)
    if bucket is None:
        raise not_found(account)
    require_read(account, namespace, bucket["private"])
    if write:
        require_write(account, namespace)
    return bucket


def readable_bucket(store: Store, account: Account, bucket_id: str) -> sqlite3.Row:
    """The bucket `namespace/name`, named inside of a request, if `account` may read it."""
    namespace, _, name = bucket_id.partition("/")
    return _find(store, account, namespace, name, write=False)


def _url(request: Request, bucket_id: str) -> str:
    return f"{request.base_url}buckets/{bucket_id}"


def _info(store: Store, bucket: sqlite3.Row) -> dict:
    files = store.row(
        "SELECT coalesce(sum(size), 0) AS size, count(*) AS count FROM bucket_files WHERE bucket = ?", bucket["id"]
    )
    return {
        "id": f"{bucket['namespace']}/{bucket['name']}",
        "private": bool(bucket["private"]),
        "createdAt": bucket["created_at"],
        "size": files["size"],
        "totalFiles": files["count"],
    }


async def create_bucket(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    namespace, name = _address(request)
    if namespace == "me":
        namespace = account.user or "me"
    require_write(account, namespace)
    if _NAME.fullmatch(name) is None or ".." in name or "--" in name:
        raise HubError(400, f"'{name}' is not a valid bucket name")
    settings = await request.json()
    private = settings.get("visibility") == "private" or bool(settings.get("private"))  # huggingface_hub 2, and 1
    bucket_id = f"{namespace}/{name}"
    url = _url(request, bucket_id)
    try:
        store.execute(
            "INSERT INTO buckets (namespace, name, private, created_at) VALUES (?, ?, ?, ?)",
            *(namespace, name, private, store.now()),
        )
    except sqlite3.IntegrityError as error:
        raise HubError(409, "You already created this bucket", url=url) from error
    return JSONResponse({"url": url, "name": bucket_id, "id": bucket_id})


async def bucket_info(request: Request) -> JSONResponse:
    return JSONResponse(_info(request.app.state.store, find_bucket(request)))


async def list_buckets(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    namespace = request.path_params["namespace"]
    if namespace == "me":
        if account.user is None:
            raise HubError(401, "Invalid username or password.")
        namespace = account.user
    if not request.app.state.accounts.has_namespace(namespace):
        raise HubError(404, f"There is no user or organization '{namespace}'")
    search = request.query_params.get("search", "").lower()
    buckets = [
        bucket
        for bucket in store.rows("SELECT * FROM buckets WHERE namespace = ? ORDER BY name", namespace)
        if search in bucket["name"].lower() and (not bucket["private"] or account.may_read(namespace))
    ]
    return page(request, buckets, itemgetter("name"), lambda bucket: _info(store, bucket))


async def update_bucket(request: Request) -> JSONResponse:
    bucket = find_bucket(request, write=True)
    private = (await request.json())["private"]
    request.app.state.store.execute("UPDATE buckets SET private = ? WHERE id = ?", private, bucket["id"])
    return JSONResponse({"private": private})


async def delete_bucket(request: Request) -> Response:
    bucket = find_bucket(request, write=True)
    request.app.state.store.execute("DELETE FROM buckets WHERE id = ?", bucket["id"])
    return Response(status_code=204)


def move_bucket(request: Request, account: Account, origin: str, destination: str) -> None:
    """Renames a bucket, also into another namespace, if `account` may write in both."""
    store: Store = request.app.state.store
    bucket = _find(store, account, *origin.split("/"), write=True)
    namespace, name = destination.split("/")
    require_write(account, namespace)
    try:
        store.execute("UPDATE buckets SET namespace = ?, name = ? WHERE id = ?", namespace, name, bucket["id"])
    except sqlite3.IntegrityError as error:
        raise HubError(409, f"There already is a bucket '{destination}'", url=_url(request, destination)) from error


async def bucket_xet_token(request: Request) -> JSONResponse:
    scope = request.path_params["scope"]
    find_bucket(request, write=scope == "write")
    return request.app.state.xet_tokens.grant(request, scope).response()
