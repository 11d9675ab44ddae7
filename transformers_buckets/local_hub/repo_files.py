"""Files in repos: list, look up, change by commits, read."""

import base64
import hashlib
import json
from operator import itemgetter
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import require_write
from .commits import add_commit, apply_operation, goes_to_xet, head_of, history, last_changes, read_blob, read_tree
from .content import blob_content, xet_content
from .errors import HubError
from .git_tree import Entry, Tree
from .pages import page
from .repos import find_repo, repo_holds, repo_url
from .store import Store


def _file_json(path: str, entry: Entry) -> dict:
    file = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
    if entry.sha256:
        file |= {"lfs": entry.lfs_json(), "xetHash": entry.xet_hash}
    return file


def _folders(tree: Tree) -> dict[str, dict]:
    """All folders of a tree. Their identifier stands for the files in them, as that of a git tree does."""
    contents: dict[str, list] = {}
    for path, entry in tree.items():
        for end, letter in enumerate(path):
            if letter == "/":
                contents.setdefault(path[:end], []).append((path, entry.oid))
    return {
        path: {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(repr(inside).encode()).hexdigest()}
        for path, inside in contents.items()
    }


async def list_tree(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    oid = head_of(store, find_repo(request), request.path_params["revision"])
    tree = read_tree(store, oid)
    folder = request.path_params.get("path", "").strip("/")
    entries = _folders(tree) | {path: _file_json(path, entry) for path, entry in tree.items()}
    if folder and entries.get(folder, {}).get("type") != "directory":
        raise HubError(404, f"'{folder}' does not exist", "EntryNotFound")
    start = f"{folder}/" if folder else ""
    listed = [entry for path, entry in sorted(entries.items()) if path.startswith(start)]
    if request.query_params.get("recursive", "false").lower() != "true":
        listed = [entry for entry in listed if "/" not in entry["path"][len(start) :]]
    if request.query_params.get("expand", "false").lower() == "true":
        listed = _with_last_commits(store, oid, listed)
    return page(request, listed, itemgetter("path"), dict)


def _with_last_commits(store: Store, oid: str, entries: list[dict]) -> list[dict]:
    changes = last_changes(store, oid, [entry["path"] for entry in entries])
    return [{**entry, "lastCommit": changes[entry["path"]]} for entry in entries]


async def paths_info(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    oid = head_of(store, find_repo(request), request.path_params["revision"])
    tree = read_tree(store, oid)
    folders = _folders(tree)
    wanted = parse_qs((await request.body()).decode())
    found = []
    for path in wanted.get("paths", []):
        if path in tree:
            found.append(_file_json(path, tree[path]))
        elif path.strip("/") in folders:
            found.append(folders[path.strip("/")])
    if wanted.get("expand") == ["true"]:
        found = _with_last_commits(store, oid, found)
    return JSONResponse(found)


async def resolve(request: Request) -> Response:
    store: Store = request.app.state.store
    repo = find_repo(request)
    oid = head_of(store, repo, request.path_params["revision"])
    entry = read_tree(store, oid).get(request.path_params["path"])
    headers = {"X-Repo-Commit": oid}
    if entry is None:
        raise HubError(404, "Entry not found", "EntryNotFound", headers=headers)
    if entry.xet_hash is None:
        return blob_content(request, read_blob(store, entry.oid), headers={**headers, "ETag": f'"{entry.oid}"'})
    repo_id = f"{repo['namespace']}/{repo['name']}"
    token_route = f"{request.base_url}api/{repo['type']}s/{repo_id}/xet-read-token/{oid}"
    etag = f'"{entry.sha256}"'
    headers |= {"ETag": etag, "X-Linked-ETag": etag}
    return xet_content(request, entry.xet_hash, entry.size, token_route, media_type=None, headers=headers)


async def preupload(request: Request) -> JSONResponse:
    """Says which files go to the Xet storage, and what is already there under their paths."""
    store: Store = request.app.state.store
    repo = find_repo(request, write=True)
    tree = read_tree(store, head_of(store, repo, request.path_params["revision"]))
    attributes = tree.get(".gitattributes")
    attributes = read_blob(store, attributes.oid).decode() if attributes else ""
    files = []
    for file in (await request.json())["files"]:
        to_xet = goes_to_xet(attributes, file["path"], file["size"], base64.b64decode(file["sample"]))
        known = tree.get(file["path"])
        files.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if to_xet else "regular",
                "shouldIgnore": False,
                "oid": (known.sha256 or known.oid) if known else None,
            }
        )
    return JSONResponse({"files": files})


async def commit(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    repo = find_repo(request, write=True)
    account = request.app.state.accounts.authenticate(request)
    branch = request.path_params["revision"]
    lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    with store.transaction():
        parent = head_of(store, repo, branch)
        if header.get("parentCommit") not in (None, parent):
            raise HubError(412, "The branch was updated since you opened this page. Please refresh and try again.")
        tree = read_tree(store, parent)
        for line in lines:
            if line["key"] != "header":
                apply_operation(store, request.app.state.xet_storage, tree, line["key"], line["value"])
        message = (header["summary"], header.get("description", ""))
        oid = add_commit(store, repo, branch, parent, tree, *message, account.user)
    url = f"{repo_url(request, repo['type'], repo['namespace'] + '/' + repo['name'])}/commit/{oid}"
    return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


async def share_contents(request: Request) -> JSONResponse:
    """Lets another repo commit contents of this one. There is one storage for all: it only has to be allowed."""
    store: Store = request.app.state.store
    repo = find_repo(request)
    wanted = await request.json()
    require_write(request.app.state.accounts.authenticate(request), wanted["target"]["name"].partition("/")[0])
    failed = [
        {"sha256": file["sha256"], "error": "Not in this repo"}
        for file in wanted["files"]
        if not repo_holds(store, repo, file["xetHash"])
    ]
    return JSONResponse({"failed": failed})


async def list_commits(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    repo = find_repo(request)
    return JSONResponse(
        [
            {
                "id": commit["oid"],
                "title": commit["title"],
                "message": commit["message"],
                "authors": [{"user": commit["author"]}],
                "date": commit["created_at"],
            }
            for commit in history(store, head_of(store, repo, request.path_params["revision"]))
        ]
    )
