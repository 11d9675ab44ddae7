"""Repos at a revision: what they hold, their branches, their history."""

import sqlite3

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .bodies import read_json
from .commits import Entry, head_of, history, lfs_pointer, read_tree
from .errors import HubError
from .repos import find_repo, id_of
from .store import store_of


def lfs_json(entry: Entry, hash_name: str) -> dict:
    """A file in the Xet storage, for clients that know git LFS. The name of its hash depends on the route."""
    pointer_size = len(lfs_pointer(entry.sha256, entry.size))
    return {hash_name: entry.sha256, "size": entry.size, "pointerSize": pointer_size}


def _sibling(path: str, entry: Entry, with_blobs: bool) -> dict:
    sibling = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": entry.size, "blobId": entry.oid}
        if entry.sha256:
            sibling["lfs"] = lfs_json(entry, "sha256")
    return sibling


async def repo_info(request: Request) -> JSONResponse:
    store, repo = store_of(request), find_repo(request)
    oid = head_of(store, repo, request.path_params.get("revision", "main"))
    tree = read_tree(store, oid)
    return JSONResponse(
        {
            "_id": str(repo["id"]),
            "id": id_of(repo),
            "modelId": id_of(repo),
            "author": repo["namespace"],
            "sha": oid,
            "createdAt": repo["created_at"],
            "lastModified": history(store, oid)[0]["created_at"],
            "private": bool(repo["private"]),
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [_sibling(path, entry, "blobs" in request.query_params) for path, entry in tree.items()],
            "usedStorage": sum(entry.size for entry in tree.values()),
        }
    )


async def list_commits(request: Request) -> JSONResponse:
    store = store_of(request)
    oid = head_of(store, find_repo(request), request.path_params["revision"])
    return JSONResponse(
        [
            {
                "id": commit["oid"],
                "title": commit["title"],
                "message": commit["message"],
                "authors": [{"user": commit["author"]}],
                "date": commit["created_at"],
            }
            for commit in history(store, oid)
        ]
    )


async def list_refs(request: Request) -> JSONResponse:
    branches = store_of(request).rows("SELECT * FROM branches WHERE repo = ? ORDER BY name", find_repo(request)["id"])
    listed = [
        {"name": branch["name"], "ref": f"refs/heads/{branch['name']}", "targetCommit": branch["head"]}
        for branch in branches
    ]
    return JSONResponse({"branches": listed, "converts": [], "tags": [], "pullRequests": []})


async def create_branch(request: Request) -> Response:
    store, repo = store_of(request), find_repo(request, write=True)
    name = request.path_params["branch"]
    head = head_of(store, repo, str((await read_json(request)).get("startingPoint", "main")))
    try:
        store.execute("INSERT INTO branches VALUES (?, ?, ?)", repo["id"], name, head)
    except sqlite3.IntegrityError as error:
        raise HubError(409, f"Reference refs/heads/{name} already exists") from error
    return Response("OK")


async def delete_branch(request: Request) -> Response:
    repo, name = find_repo(request, write=True), request.path_params["branch"]
    deleted = store_of(request).row(
        "DELETE FROM branches WHERE repo = ? AND name = ? RETURNING name", repo["id"], name
    )
    if deleted is None:
        raise HubError(404, f"Invalid rev id: refs/heads/{name}", "RevisionNotFound")
    return Response("OK")
