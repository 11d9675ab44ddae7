"""Files in buckets: list, look up, change in batches, read."""

import json
import sqlite3
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import format_datetime
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import Account
from .buckets import find_bucket, readable_bucket
from .content import xet_content
from .errors import HubError
from .pages import page
from .quotas import require_room
from .repos import readable_repo, repo_holds
from .store import Store, iso_time, parse_time


def _file_json(row: sqlite3.Row) -> dict:
    return {
        "type": "file",
        "path": row["path"],
        "size": row["size"],
        "xetHash": row["xet_hash"],
        "mtime": row["mtime"],
        "uploadedAt": row["uploaded_at"],
        "contentType": row["content_type"],
    }


async def list_tree(request: Request) -> JSONResponse:
    """Every file whose path begins with the prefix, as text; with `recursive=false` its children and their folders."""
    bucket = find_bucket(request)
    prefix = request.path_params.get("prefix", "")
    files = request.app.state.store.rows(
        "SELECT * FROM bucket_files WHERE bucket = ? AND path >= ? AND path < ? ORDER BY path",
        *(bucket["id"], prefix, prefix + chr(sys.maxunicode)),
    )
    if request.query_params.get("recursive", "true").lower() == "false":
        return page(request, _children(files, prefix), itemgetter("path"), dict)
    return page(request, files, itemgetter("path"), _file_json)


def _children(files: Iterable[sqlite3.Row], prefix: str) -> list[dict]:
    children: dict[str, dict] = {}
    for row in files:
        # The prefix "logs" stands for the folder, so its children are wanted and not "logs" itself. But "logs_old/x"
        # begins with "logs" too: there the child is "logs_old".
        inside = len(prefix) + 1 if prefix and row["path"].startswith(prefix + "/") else len(prefix)
        child, slash, _ = row["path"][inside:].partition("/")
        path = row["path"][:inside] + child
        if not slash:
            children[path] = _file_json(row)
            continue
        folder = children.setdefault(path, {"type": "directory", "path": path, "uploadedAt": row["uploaded_at"]})
        folder["uploadedAt"] = max(folder["uploadedAt"], row["uploaded_at"])
    return sorted(children.values(), key=itemgetter("path"))


async def paths_info(request: Request) -> JSONResponse:
    bucket = find_bucket(request)
    found = (_file(request.app.state.store, bucket, path) for path in (await request.json())["paths"])
    return JSONResponse([_file_json(row) for row in found if row is not None])


def _file(store: Store, bucket: sqlite3.Row, path: str) -> sqlite3.Row | None:
    return store.row("SELECT * FROM bucket_files WHERE bucket = ? AND path = ?", bucket["id"], path)


async def resolve(request: Request) -> Response:
    bucket = find_bucket(request)
    row = _file(request.app.state.store, bucket, request.path_params["path"])
    if row is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    token_route = f"{request.base_url}api/buckets/{bucket['namespace']}/{bucket['name']}/xet-read-token"
    return xet_content(
        *(request, row["xet_hash"], row["size"], token_route),
        media_type=row["content_type"],
        headers={"ETag": f'"{row["xet_hash"]}"', "Last-Modified": _http_time(row["uploaded_at"])},
    )


def _http_time(time: str) -> str:
    return format_datetime(parse_time(time), usegmt=True)


async def batch(request: Request) -> JSONResponse:
    """Applies add, copy and delete operations one by one; those that fail are listed, the others stay."""
    bucket = find_bucket(request, write=True)
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    operations = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
    failed = []
    with store.transaction():
        for operation in operations:
            try:
                _APPLY[operation["type"]](request, account, bucket, operation)
            except HubError as error:
                failed.append({"path": operation["path"], "error": error.message})
        require_room(store, bucket["namespace"])
    done = len(operations) - len(failed)
    return JSONResponse(
        {"success": not failed, "processed": len(operations), "succeeded": done, "failed": failed},
        status_code=422 if failed and not done else 200,
    )


def _add_file(request: Request, account: Account, bucket: sqlite3.Row, operation: dict) -> None:
    size = request.app.state.xet_storage.file_size(operation["xetHash"])
    if size is None:
        raise HubError(400, f"The content {operation['xetHash']} has not been uploaded")
    request.app.state.store.execute(
        "INSERT OR REPLACE INTO bucket_files VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(bucket["id"], operation["path"], operation["xetHash"], size, iso_time(_client_time(operation.get("mtime")))),
        *(request.app.state.store.now(), operation.get("contentType")),
    )


def _client_time(milliseconds: int | None) -> datetime:
    if milliseconds is None:  # huggingface_hub 1 sends none with a copy
        return datetime.now(timezone.utc)
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def _copy_file(request: Request, account: Account, bucket: sqlite3.Row, operation: dict) -> None:
    store: Store = request.app.state.store
    source, xet_hash = operation["sourceRepoId"], operation["xetHash"]
    if operation["sourceRepoType"] == "bucket":
        origin = readable_bucket(store, account, source)
        held = store.row("SELECT 1 FROM bucket_files WHERE bucket = ? AND xet_hash = ?", origin["id"], xet_hash)
    else:
        held = repo_holds(store, readable_repo(store, account, operation["sourceRepoType"], source), xet_hash)
    if not held:
        raise HubError(404, f"'{source}' has no file with the content {xet_hash}", "EntryNotFound")
    _add_file(request, account, bucket, operation)


def _delete_file(request: Request, account: Account, bucket: sqlite3.Row, operation: dict) -> None:
    store: Store = request.app.state.store
    if _file(store, bucket, operation["path"]) is None:
        raise HubError(404, "File not found", "EntryNotFound")
    store.execute("DELETE FROM bucket_files WHERE bucket = ? AND path = ?", bucket["id"], operation["path"])


_APPLY = {"addFile": _add_file, "copyFile": _copy_file, "deleteFile": _delete_file}
