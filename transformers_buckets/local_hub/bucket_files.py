"""Files in buckets: list, look up, change in batches, read."""

import re
import sqlite3
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import format_datetime
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import Account, account_of
from .bodies import read_json, read_lines, require
from .content import xet_content
from .errors import HubError
from .pages import page
from .permissions import holds, may_use
from .quotas import require_room
from .repos import find_repo, id_of, named_repo
from .store import Store, iso_time, now, parse_time, store_of
from .xet.storage import file_size


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
    prefix = request.path_params.get("prefix", "")
    files = store_of(request).rows(
        "SELECT * FROM bucket_files WHERE bucket = ? AND path >= ? AND path < ? ORDER BY path",
        *(find_repo(request)["id"], prefix, prefix + chr(sys.maxunicode)),
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
    bucket = find_repo(request)
    paths = dict.fromkeys(path for path in (await read_json(request, paths=list))["paths"] if isinstance(path, str))
    found = (_file(store_of(request), bucket, path) for path in paths)
    return JSONResponse([_file_json(row) for row in found if row is not None])


def _file(store: Store, bucket: sqlite3.Row, path: str) -> sqlite3.Row | None:
    return store.row("SELECT * FROM bucket_files WHERE bucket = ? AND path = ?", bucket["id"], path)


async def resolve(request: Request) -> Response:
    bucket = find_repo(request)
    row = _file(store_of(request), bucket, request.path_params["path"])
    if row is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    uploaded_at = format_datetime(parse_time(row["uploaded_at"]), usegmt=True)
    return xet_content(
        *(request, row["xet_hash"], row["size"], f"{request.base_url}api/buckets/{id_of(bucket)}/xet-read-token"),
        media_type=row["content_type"],
        headers={"ETag": f'"{row["xet_hash"]}"', "Last-Modified": uploaded_at},
    )


async def batch(request: Request) -> JSONResponse:
    """Applies add, copy and delete operations one by one; those that fail are listed, the others stay."""
    store, account, bucket = store_of(request), account_of(request), find_repo(request, write=True)
    operations = await read_lines(request, type=str, path=str)
    failed, time = [], now()
    with store.transaction():
        for operation in operations:
            try:
                _apply(store, account, bucket, operation, time)
            except HubError as error:
                failed.append({"path": operation["path"], "error": error.message})
        require_room(store, bucket["namespace"])
    done = len(operations) - len(failed)
    return JSONResponse(
        {"success": not failed, "processed": len(operations), "succeeded": done, "failed": failed},
        status_code=422 if failed and not done else 200,
    )


def _apply(store: Store, account: Account, bucket: sqlite3.Row, operation: dict, time: str) -> None:
    if operation["type"] == "deleteFile":
        if _file(store, bucket, operation["path"]) is None:
            raise HubError(404, "File not found", "EntryNotFound")
        store.execute("DELETE FROM bucket_files WHERE bucket = ? AND path = ?", bucket["id"], operation["path"])
        return
    require(operation, xetHash=str)
    if operation["type"] == "copyFile":
        require(operation, sourceRepoType=str, sourceRepoId=str)
        source = named_repo(store, account, operation["sourceRepoType"], operation["sourceRepoId"])
        if not holds(store, source, operation["xetHash"]):
            message = f"'{operation['sourceRepoId']}' has no file with the content {operation['xetHash']}"
            raise HubError(404, message, "EntryNotFound")
    elif operation["type"] != "addFile":
        raise HubError(400, f"Unknown operation '{operation['type']}'")
    elif not may_use(store, account, operation["xetHash"]):
        raise HubError(400, f"The content {operation['xetHash']} has not been uploaded")
    _put(store, bucket, operation, time)


def _put(store: Store, bucket: sqlite3.Row, operation: dict, time: str) -> None:
    content_type = operation.get("contentType")
    if content_type is not None and not (isinstance(content_type, str) and re.fullmatch("[ -~]*", content_type)):
        raise HubError(400, f"'{content_type}' is no content type")
    store.execute(
        "INSERT OR REPLACE INTO bucket_files VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(bucket["id"], operation["path"], operation["xetHash"], file_size(store, operation["xetHash"])),
        *(iso_time(_client_time(operation.get("mtime"))), time, content_type),
    )


def _client_time(milliseconds: float | None) -> datetime:
    if milliseconds is None:  # huggingface_hub 1 sends none with a copy
        return datetime.now(timezone.utc)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise HubError(400, f"'{milliseconds}' is no time in milliseconds") from error
