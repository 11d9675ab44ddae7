"""Files in repos: list, look up, change by commits, read."""

import hashlib
from operator import itemgetter
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from .accounts import account_of
from .bodies import read_json, read_lines, require
from .commits import (
    Entry,
    Tree,
    add_commit,
    apply_operation,
    decode_base64,
    goes_to_xet,
    head_of,
    last_changes,
    read_tree,
)
from .content import xet_content
from .errors import HubError
from .pages import page
from .permissions import holds
from .repos import find_repo, id_of, repo_url
from .revisions import lfs_json
from .store import Store, store_of


def _file_json(path: str, entry: Entry) -> dict:
    file = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
    if entry.sha256:
        file |= {"lfs": lfs_json(entry, "oid"), "xetHash": entry.xet_hash}
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
    store = store_of(request)
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
    store = store_of(request)
    oid = head_of(store, find_repo(request), request.path_params["revision"])
    tree = read_tree(store, oid)
    folders = _folders(tree)
    wanted = parse_qs((await request.body()).decode(errors="replace"))
    found = []
    for path in dict.fromkeys(wanted.get("paths", [])):
        if path in tree:
            found.append(_file_json(path, tree[path]))
        elif path.strip("/") in folders:
            found.append(folders[path.strip("/")])
    if wanted.get("expand") == ["true"]:
        found = _with_last_commits(store, oid, found)
    return JSONResponse(found)


async def resolve(request: Request) -> Response:
    store, repo = store_of(request), find_repo(request)
    oid = head_of(store, repo, request.path_params["revision"])
    entry = read_tree(store, oid).get(request.path_params["path"])
    headers = {"X-Repo-Commit": oid}
    if entry is None:
        raise HubError(404, "Entry not found", "EntryNotFound", headers=headers)
    if entry.xet_hash is None:
        headers["ETag"] = f'"{entry.oid}"'
        return FileResponse(store.blob_path(entry.oid), headers=headers, media_type="text/plain")
    token_route = f"{request.base_url}api/{repo['type']}s/{id_of(repo)}/xet-read-token/{oid}"
    headers |= {"ETag": f'"{entry.sha256}"', "X-Linked-ETag": f'"{entry.sha256}"'}
    return xet_content(request, entry.xet_hash, entry.size, token_route, media_type=None, headers=headers)


async def preupload(request: Request) -> JSONResponse:
    """Says which files go to the Xet storage, and what is already there under their paths."""
    store, repo = store_of(request), find_repo(request, write=True)
    tree = read_tree(store, head_of(store, repo, request.path_params["revision"]))
    attributes = tree.get(".gitattributes")
    attributes = (
        store.blob_path(attributes.oid).read_text(errors="replace") if attributes and not attributes.xet_hash else ""
    )
    answers = []
    for file in (await read_json(request, files=list))["files"]:
        require(file, path=str, size=int, sample=str)
        to_xet = goes_to_xet(attributes, file["path"], file["size"], decode_base64(file["sample"]))
        known = tree.get(file["path"])
        answers.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if to_xet else "regular",
                "shouldIgnore": False,
                "oid": (known.sha256 or known.oid) if known else None,
            }
        )
    return JSONResponse({"files": answers})


async def commit(request: Request) -> JSONResponse:
    store, account, repo = store_of(request), account_of(request), find_repo(request, write=True)
    branch = request.path_params["revision"]
    lines = await read_lines(request, key=str, value=dict)
    if not lines or lines[0]["key"] != "header":
        raise HubError(400, "A commit must begin with its header")
    header, operations = lines[0]["value"], lines[1:]
    require(header, summary=str)
    with store.transaction():
        parent = head_of(store, repo, branch)
        if header.get("parentCommit") not in (None, parent):
            raise HubError(412, "The branch was updated since you opened this page. Please refresh and try again.")
        tree = read_tree(store, parent)
        for operation in operations:
            apply_operation(store, account, tree, operation["key"], operation["value"])
        message = (header["summary"], str(header.get("description", "")))
        oid = add_commit(store, repo, branch, parent, tree, *message, account.user)
    url = f"{repo_url(request, repo['type'], id_of(repo))}/commit/{oid}"
    return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


async def share_contents(request: Request) -> JSONResponse:
    """Lets another repo commit contents of this one. There is one storage for all: it only has to be allowed."""
    store, repo = store_of(request), find_repo(request)
    wanted = await read_json(request, target=dict, files=list)
    require(wanted["target"], name=str)
    account_of(request).require_write(wanted["target"]["name"].partition("/")[0])
    failed = []
    for file in wanted["files"]:
        require(file, sha256=str, xetHash=str)
        if not holds(store, repo, file["xetHash"]):
            failed.append({"sha256": file["sha256"], "error": "Not in this repo"})
    return JSONResponse({"failed": failed})


async def validate_card(request: Request) -> JSONResponse:
    """Accepts every model card: the metadata of a card has no meaning here."""
    await request.body()
    return JSONResponse({"errors": [], "warnings": []})
